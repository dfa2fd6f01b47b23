import type { Storage } from 'virtio/devices/blk';
import { UsageError } from 'virtio/errors';
import { lockForPage } from '../browser-lock.ts';
import { ChunkCache } from './chunk-cache.ts';
import { DiskDatabase } from './database.ts';

/** How a disk in the browser's storage is opened. */
export interface BrowserDiskOptions {
  /** Bytes, a multiple of 512. A disk that exists must have this size. */
  readonly size: number;
  /** Bytes that are stored under one key: a multiple of 512; 256 KiB unless told. Holds for a new disk. */
  readonly chunkSize?: number;
  /** The most bytes of it in memory; 32 MiB unless told, never less than 4 chunks. */
  readonly cacheSize?: number;
}

const sectorSize = 512;
const leastCapacity = 4;

/**
 * Opens a disk that is kept in the browser's own storage (IndexedDB) under a name, or makes it, all zeroes.
 * It takes the room of the chunks that were written. What the guest has flushed survives a reload and a crash
 * of the page: each flush is stored whole or not at all.
 *
 * @throws {UsageError} BAD_ARGUMENT for sizes that are no multiples of 512, or another one than the disk has.
 * @throws {HostError} IN_USE when another page has the disk open; IO_ERROR when the browser refuses.
 */
export async function openBrowserDisk(name: string, options: BrowserDiskOptions): Promise<Storage> {
  const { size, chunkSize = 256 * 1024, cacheSize = 32 * 1024 * 1024 } = options;
  if (!isSectors(size))
    throw new UsageError('BAD_ARGUMENT', `a disk of ${size} bytes: take a multiple of 512`);
  if (!isSectors(chunkSize)) {
    throw new UsageError('BAD_ARGUMENT', `chunks of ${chunkSize} bytes: take a multiple of 512`);
  }
  const release = await lock(name);
  try {
    const database = await DiskDatabase.open(name);
    const found = await database.record();
    const record = found ?? { size, chunkSize };
    if (found === undefined) await database.writeRecord(record);
    if (record.size !== size) {
      database.close();
      throw new UsageError('BAD_ARGUMENT', `the disk "${name}" has ${record.size} bytes, not ${size}`);
    }
    return storage(database, record, cacheSize, release);
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Deletes a disk and all that is on it; one that does not exist is deleted as well.
 *
 * @throws {HostError} IN_USE when a page has it open.
 */
export async function deleteBrowserDisk(name: string): Promise<void> {
  const release = await lock(name);
  try {
    await DiskDatabase.delete(name);
  } finally {
    release();
  }
}

function storage(
  database: DiskDatabase,
  { size, chunkSize }: { readonly size: number; readonly chunkSize: number },
  cacheSize: number,
  release: () => void,
): Storage {
  const capacity = Math.max(leastCapacity, Math.floor(cacheSize / chunkSize));
  const cache = new ChunkCache(database, chunkSize, capacity);

  /** Does something with each part of a range that lies in one chunk; a promise when any of them takes time. */
  const eachPart = (
    offset: number,
    length: number,
    visit: (index: number, within: number, from: number, length: number) => void | Promise<void>,
  ): void | Promise<void> => {
    const pending: Promise<void>[] = [];
    for (let from = 0; from < length; ) {
      const index = Math.floor((offset + from) / chunkSize);
      const within = offset + from - index * chunkSize;
      const taken = Math.min(chunkSize - within, length - from);
      const visited = visit(index, within, from, taken);
      if (visited !== undefined) pending.push(visited);
      from += taken;
    }
    return pending.length === 0 ? undefined : Promise.all(pending).then(() => {});
  };

  const change = (
    offset: number,
    length: number,
    apply: (bytes: Uint8Array, from: number) => void,
  ): void | Promise<void> =>
    eachPart(offset, length, (index, within, from, taken) =>
      cache.change(index, taken === chunkSize, (bytes) =>
        apply(bytes.subarray(within, within + taken), from),
      ),
    );
  const clear = (offset: number, length: number): void | Promise<void> =>
    change(offset, length, (bytes) => bytes.fill(0));

  return {
    size,
    readOnly: false,
    immediate: false,
    sparse: true,
    read: (offset, target) =>
      eachPart(offset, target.length, (index, within, from, length) => {
        const copy = (bytes: Uint8Array): void => target.set(bytes.subarray(within, within + length), from);
        const bytes = cache.bytes(index);
        return bytes instanceof Promise ? bytes.then(copy) : copy(bytes);
      }),
    write: (offset, source) =>
      change(offset, source.length, (bytes, from) => bytes.set(source.subarray(from, from + bytes.length))),
    flush: () => cache.flush(),
    discard: clear,
    writeZeroes: clear,
    async close() {
      try {
        await cache.flush();
      } finally {
        database.close();
        release();
      }
    },
  };
}

const lock = (name: string): Promise<() => void> => lockForPage(`virtio-disk:${name}`, `the disk "${name}"`);

function isSectors(size: number): boolean {
  return Number.isSafeInteger(size) && size > 0 && size % sectorSize === 0;
}
