import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from 'virtio/errors';
import { type Backing, type GuestMemory, maxViewLength, type Region } from 'virtio/memory';
import { exists } from '../guests/cache.ts';
import { mapFile } from '../host/memory.ts';

/** Mappings are given back when no view of them is left: whoever touched one earlier would crash the process. */
const unusedMappings = new FinalizationRegistry<() => void>((unused) => unused());

/**
 * Memory that this process and another one use at the same time: a file, in memory where the system has such files,
 * that both map. The file is gone when it is closed; what is mapped lives on until nothing uses it.
 */
export class SharedMemory {
  /** For the other process, to be mapped by it. */
  readonly path: string;
  /** Bytes. */
  readonly length: number;
  readonly #folder: string;
  readonly #pieces: readonly Backing[];

  private constructor(folder: string, path: string, length: number, pieces: readonly Backing[]) {
    this.#folder = folder;
    this.path = path;
    this.length = length;
    this.#pieces = pieces;
  }

  /**
   * Memory of zeros, `length` bytes, a multiple of 4096.
   *
   * @throws {HostError} NO_SPACE, or IO_ERROR when the system cannot map it.
   */
  static async create(length: number): Promise<SharedMemory> {
    if (!(length > 0) || length % 4096 !== 0) {
      throw new UsageError('BAD_ARGUMENT', `shared memory of ${length} bytes is not a number of pages`);
    }
    const inMemory = '/dev/shm';
    const folder = await mkdtemp(join((await exists(inMemory)) ? inMemory : tmpdir(), 'virtio-memory-'));
    try {
      const path = join(folder, 'memory');
      const file = await open(path, 'wx+', 0o600);
      try {
        await file.truncate(length);
        return new SharedMemory(folder, path, length, mapWhole(file.fd, length));
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Makes it part of a guest's memory, from an address on: a region for each 4 GiB. */
  addTo(memory: GuestMemory, start: number): Region[] {
    return this.#pieces.map((piece, index) =>
      memory.addRegion(start + index * maxViewLength, piece, { pinned: true, shared: true }),
    );
  }

  /** Removes the file. Both processes keep what they have mapped. */
  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function mapWhole(fd: number, length: number): readonly Backing[] {
  const { pieces, close } = mapFile(fd, 0, length);
  let used = pieces.length;
  for (const { buffer } of pieces) {
    unusedMappings.register(buffer, () => {
      if (--used === 0) close();
    });
  }
  return pieces;
}
