import type { ChunkChange } from './database.ts';

/** Where chunks come from and go to. */
export interface ChunkStore {
  read(index: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  write(changes: readonly ChunkChange[]): Promise<void>;
}

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Counts the changes to the bytes; those up to `stored` are in the store. */
  version: number;
  stored: number;
}

/**
 * The chunks that were used last, in a bounded amount of memory. Chunks that have changed stay until they are
 * stored.
 */
export class ChunkCache {
  readonly #store: ChunkStore;
  readonly #chunkSize: number;
  readonly #capacity: number;
  /** The chunk that was used last comes last. */
  readonly #chunks = new Map<number, Chunk>();
  readonly #loading = new Map<number, Promise<Chunk>>();
  #storing: Promise<void> = Promise.resolve();

  /** `capacity` counts chunks. */
  constructor(store: ChunkStore, chunkSize: number, capacity: number) {
    this.#store = store;
    this.#chunkSize = chunkSize;
    this.#capacity = capacity;
  }

  /** The bytes of a chunk, to be read at once. */
  bytes(index: number): Uint8Array | Promise<Uint8Array> {
    const chunk = this.#present(index);
    return chunk?.bytes ?? this.#load(index).then(({ bytes }) => bytes);
  }

  /** Changes the bytes of a chunk; `whole` says that nothing of the old ones stays. */
  change(index: number, whole: boolean, apply: (bytes: Uint8Array) => void): void | Promise<void> {
    const chunk =
      this.#present(index) ?? (whole ? this.#keep(index, new Uint8Array(this.#chunkSize)) : undefined);
    if (chunk !== undefined) return this.#change(chunk, apply);
    return this.#load(index).then((loaded) => {
      const kept = this.#present(index) ?? loaded;
      // Others may have pushed it out in the same turn; what changes must be in the cache.
      this.#chunks.set(index, kept);
      return this.#change(kept, apply);
    });
  }

  /** Stores what had changed when this was called. */
  flush(): Promise<void> {
    // One after the other: an older content must never overtake a newer one.
    const flushed = this.#storing.then(() => this.#storeChanged());
    this.#storing = flushed.catch(() => {});
    return flushed;
  }

  #present(index: number): Chunk | undefined {
    const chunk = this.#chunks.get(index);
    if (chunk === undefined) return undefined;
    this.#chunks.delete(index);
    this.#chunks.set(index, chunk);
    return chunk;
  }

  #load(index: number): Promise<Chunk> {
    let loading = this.#loading.get(index);
    if (loading === undefined) {
      loading = this.#store
        .read(index)
        // A write of the whole chunk may have been quicker.
        .then((bytes) => this.#present(index) ?? this.#keep(index, bytes ?? new Uint8Array(this.#chunkSize)))
        .finally(() => this.#loading.delete(index));
      this.#loading.set(index, loading);
    }
    return loading;
  }

  #keep(index: number, bytes: Uint8Array<ArrayBuffer>): Chunk {
    const chunk: Chunk = { bytes, version: 0, stored: 0 };
    this.#chunks.set(index, chunk);
    for (const [old, { version, stored }] of this.#chunks) {
      if (this.#chunks.size <= this.#capacity) break;
      if (old !== index && version === stored) this.#chunks.delete(old);
    }
    return chunk;
  }

  /** A writer waits while more than half of the cache has changed and is not stored. */
  #change(chunk: Chunk, apply: (bytes: Uint8Array) => void): void | Promise<void> {
    apply(chunk.bytes);
    chunk.version++;
    if (this.#changed().length > this.#capacity / 2) return this.flush();
  }

  #changed(): [number, Chunk][] {
    return [...this.#chunks].filter(([, { version, stored }]) => version !== stored);
  }

  async #storeChanged(): Promise<void> {
    const changed = this.#changed();
    if (changed.length === 0) return;
    const versions = changed.map(([, { version }]) => version);
    await this.#store.write(
      changed.map(([index, { bytes }]) => [index, isBlank(bytes) ? null : bytes.slice()]),
    );
    for (const [i, [, chunk]] of changed.entries()) chunk.stored = versions[i]!;
  }
}

function isBlank(bytes: Uint8Array<ArrayBuffer>): boolean {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return words.every((word) => word === 0);
}
