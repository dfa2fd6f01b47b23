import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

/** Everything a saved state depends on. Two machines with equal keys can go on from each other's states. */
export type StateKey = Readonly<Record<string, string | number | readonly string[]>>;

const hashLength = 32;
const keep = 4;
const suffix = '.state';

/**
 * Machine states after boot, in a folder of the user's cache. A file is the SHA-256 of what follows it, the
 * length and text of its key, and the state. It is written beside its place and renamed into it, and what does
 * not hold in every respect is removed when it is found: a state is used whole or not at all.
 */
export class SavedStates {
  readonly #folder: string;

  /** @param folder is made when the first state is saved. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The state saved under this key; `undefined` when there is none that is whole. */
  async load(key: StateKey): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const path = this.#path(key);
    let file: Uint8Array<ArrayBuffer>;
    try {
      file = await readFile(path);
    } catch {
      return undefined;
    }
    const state = stateIn(file, JSON.stringify(key));
    if (state === undefined) await this.drop(key);
    else await utimes(path, new Date(), new Date()).catch(() => {});
    return state;
  }

  /** Keeps a state, and forgets those that were not used for longest. */
  async save(key: StateKey, state: Uint8Array): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const text = Buffer.from(JSON.stringify(key));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    const temporary = join(this.#folder, `.${randomBytes(6).toString('hex')}`);
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        for (const part of [hash(length, text, state), length, text, state]) await writeAll(file, part);
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path(key));
    } finally {
      await rm(temporary, { force: true });
    }
    await this.#prune();
  }

  /** Removes the state of this key, which was found not to fit. */
  async drop(key: StateKey): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  #path(key: StateKey): string {
    return join(
      this.#folder,
      `${createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32)}${suffix}`,
    );
  }

  /** Leftovers of interrupted writes go after a day, by when nobody writes them any more. */
  async #prune(): Promise<void> {
    const dayAgo = Date.now() - 86_400_000;
    const files: { path: string; used: number }[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const used = (await stat(path).catch(() => undefined))?.mtimeMs;
      if (used === undefined) continue;
      if (name.endsWith(suffix)) files.push({ path, used });
      else if (name.startsWith('.') && used < dayAgo) await rm(path, { force: true });
    }
    files.sort((a, b) => b.used - a.used);
    for (const { path } of files.slice(keep)) await rm(path, { force: true });
  }
}

/** The state in a file, if the file is whole and of this very key. */
function stateIn(file: Uint8Array<ArrayBuffer>, key: string): Uint8Array<ArrayBuffer> | undefined {
  if (file.length < hashLength + 4) return undefined;
  const body = file.subarray(hashLength);
  const keyEnd = 4 + new DataView(body.buffer, body.byteOffset).getUint32(0, true);
  if (Buffer.from(body.subarray(4, keyEnd)).toString() !== key) return undefined;
  return Buffer.compare(hash(body), file.subarray(0, hashLength)) === 0 ? body.subarray(keyEnd) : undefined;
}

function hash(...parts: readonly Uint8Array[]): Buffer {
  const sha = createHash('sha256');
  for (const part of parts) sha.update(part);
  return sha.digest();
}

async function writeAll(
  file: { write(bytes: Uint8Array, offset: number): Promise<{ bytesWritten: number }> },
  bytes: Uint8Array,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
}
