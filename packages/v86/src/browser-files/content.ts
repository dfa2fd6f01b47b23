import { ChunkCache } from '../browser-disk/chunk-cache.ts';

/**
 * The bytes of one open file, whichever way the browser gives them. Its owner asks for one thing after the other. What
 * fails, fails with the browser's own exceptions.
 */
export interface FileContent {
  /** Bytes. */
  readonly size: number;
  /** Answers how many bytes there were. */
  read(offset: number, target: Uint8Array): Promise<number>;
  write(offset: number, source: Uint8Array): Promise<void>;
  setSize(size: number): Promise<void>;
  /** A process closed the file: brings to light what fails late. */
  settle(): Promise<void>;
  /** Makes it stable. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const chunkSize = 65_536;
/** Chunks of a file in memory; half of them may have changed before they are stored. */
const capacity = 512;

/**
 * A file by `getFile` and `createWritable`, which every browser has, in every folder: what was written is kept in memory,
 * 16 MiB of it at most, and stored all at once, which costs the browser a copy of the whole file.
 */
export class StreamedContent implements FileContent {
  readonly #handle: FileSystemFileHandle;
  #file: File;
  #size: number;
  #cache: ChunkCache;

  static async open(handle: FileSystemFileHandle): Promise<StreamedContent> {
    return new StreamedContent(handle, await handle.getFile());
  }

  private constructor(handle: FileSystemFileHandle, file: File) {
    this.#handle = handle;
    this.#file = file;
    this.#size = file.size;
    this.#cache = this.#newCache();
  }

  get size(): number {
    return this.#size;
  }

  async read(offset: number, target: Uint8Array): Promise<number> {
    const count = Math.max(0, Math.min(target.length, this.#size - offset));
    for (let from = 0; from < count; ) {
      const [index, within, length] = part(offset + from, count - from);
      const bytes = await this.#cache.bytes(index);
      target.set(bytes.subarray(within, within + length), from);
      from += length;
    }
    return count;
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    this.#size = Math.max(this.#size, offset + source.length);
    for (let from = 0; from < source.length; ) {
      const [index, within, length] = part(offset + from, source.length - from);
      const piece = source.subarray(from, from + length);
      await this.#cache.change(index, length === chunkSize, (bytes) => bytes.set(piece, within));
      from += length;
    }
  }

  async setSize(size: number): Promise<void> {
    const shrinks = size < this.#size;
    if (shrinks && size > 0) await this.flush();
    this.#size = size;
    if (!shrinks) return;
    // What is cut off must not come back when the file grows again.
    this.#cache = this.#newCache();
    if (this.#file.size > size) await this.#store([]);
  }

  settle(): Promise<void> {
    return this.flush();
  }

  async flush(): Promise<void> {
    await this.#cache.flush();
    if (this.#file.size !== this.#size) await this.#store([]);
  }

  close(): Promise<void> {
    return this.flush();
  }

  #newCache(): ChunkCache {
    return new ChunkCache(
      {
        read: async (index) => {
          const from = index * chunkSize;
          const found = await this.#file.slice(from, from + chunkSize).arrayBuffer();
          if (found.byteLength === 0) return undefined;
          const chunk = new Uint8Array(chunkSize);
          chunk.set(new Uint8Array(found));
          return chunk;
        },
        write: (changes) => this.#store(changes),
      },
      chunkSize,
      capacity,
    );
  }

  async #store(changes: readonly (readonly [number, Uint8Array<ArrayBuffer> | null])[]): Promise<void> {
    const size = this.#size;
    const stream = await this.#handle.createWritable({ keepExistingData: true });
    try {
      for (const [index, bytes] of changes) {
        const position = index * chunkSize;
        // It was cut off since.
        if (position >= size) continue;
        const data = bytes ?? new Uint8Array(chunkSize);
        await stream.write({ type: 'write', position, data });
      }
      await stream.truncate(size);
      await stream.close();
    } catch (error) {
      await stream.abort().catch(() => {});
      throw error;
    }
    this.#file = await this.#handle.getFile();
  }
}

/** The chunk in which an offset is, where in it, and how much of `length` is. */
function part(offset: number, length: number): [index: number, within: number, length: number] {
  const index = Math.floor(offset / chunkSize);
  const within = offset - index * chunkSize;
  return [index, within, Math.min(chunkSize - within, length)];
}
