import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { HostError } from 'virtio/errors';

/** The user's cache folder: `$VIRTIO_CACHE`, else `$XDG_CACHE_HOME/virtio-ts`, else `~/.cache/virtio-ts`. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.VIRTIO_CACHE) return environment.VIRTIO_CACHE;
  const base = environment.XDG_CACHE_HOME;
  // A relative XDG_CACHE_HOME is to be ignored, says the base directory specification.
  return join(base && isAbsolute(base) ? base : join(homedir(), '.cache'), 'virtio-ts');
}

/** SHA-256 of a file in hexadecimal; `undefined` if there is no such file. */
export async function fileHash(path: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return hash.digest('hex');
}

/** SHA-256 of bytes or text in hexadecimal. */
export function hashOf(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Whether the error says that a file or folder is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Whether anything is at this path. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/**
 * Runs `body` while no other process is in a body of the same file. The lock is flock(2)'s, held by a child that
 * lives as long as its standard input, so it ends with us however we end.
 *
 * @throws HostError `MISSING_TOOL` if there is no flock (it comes with util-linux).
 */
export async function withLock<T>(file: string, body: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const child = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo && exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', (cause) => reject(new HostError('MISSING_TOOL', 'cannot run flock', { cause })));
      child.once('exit', () => reject(new HostError('IO_ERROR', `cannot lock ${file}`)));
      child.stdout.once('data', () => resolve());
    });
    return await body();
  } finally {
    child.stdin.end();
    await ended;
  }
}

/**
 * Makes a folder whole or not at all: `fill` works in a folder of another name, which takes its place when it is
 * ready. The caller holds the lock that guards the parent; what an interrupted process left there is removed.
 */
export async function publishFolder(folder: string, fill: (folder: string) => Promise<void>): Promise<void> {
  const parent = dirname(folder);
  const prefix = `.${basename(folder)}.`;
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix)) await rm(join(parent, name), { recursive: true, force: true });
  }
  const temporary = join(parent, `${prefix}${randomBytes(6).toString('hex')}`);
  await mkdir(temporary);
  try {
    await fill(temporary);
    if (await exists(folder)) await rename(folder, `${temporary}.old`);
    await rename(temporary, folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
    await rm(`${temporary}.old`, { recursive: true, force: true });
  }
}
