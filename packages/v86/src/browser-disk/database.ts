import { HostError } from 'virtio/errors';

/** What is written of a chunk: its bytes, or `null` where they are all 0. */
export type ChunkChange = readonly [index: number, bytes: Uint8Array<ArrayBuffer> | null];

/** What a disk's database says of it. */
export interface DiskRecord {
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly chunkSize: number;
}

const prefix = 'virtio-disk:';
const chunkStore = 'chunks';
const recordStore = 'disk';
const recordKey = 'record';

/** A disk in IndexedDB: a record of it, and its chunks by number; those that hold zeroes only are absent. */
export class DiskDatabase {
  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  static async open(name: string): Promise<DiskDatabase> {
    const request = indexedDB.open(prefix + name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(chunkStore);
      request.result.createObjectStore(recordStore);
    };
    return new DiskDatabase(await settled(request));
  }

  static async delete(name: string): Promise<void> {
    await settled(indexedDB.deleteDatabase(prefix + name));
  }

  async record(): Promise<DiskRecord | undefined> {
    const store = this.#database.transaction(recordStore).objectStore(recordStore);
    // Nobody but writeRecord writes under this key.
    return settled(store.get(recordKey) as IDBRequest<DiskRecord | undefined>);
  }

  async writeRecord(record: DiskRecord): Promise<void> {
    const transaction = this.#database.transaction(recordStore, 'readwrite', { durability: 'strict' });
    transaction.objectStore(recordStore).put(record, recordKey);
    await completed(transaction);
  }

  /** A chunk's bytes; `undefined` when it holds zeroes only. */
  async read(index: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const store = this.#database.transaction(chunkStore).objectStore(chunkStore);
    // Nobody but write puts values there.
    return settled(store.get(index) as IDBRequest<Uint8Array<ArrayBuffer> | undefined>);
  }

  /** Makes all of the changes stable, or none of them. */
  async write(changes: readonly ChunkChange[]): Promise<void> {
    const transaction = this.#database.transaction(chunkStore, 'readwrite', { durability: 'strict' });
    const store = transaction.objectStore(chunkStore);
    for (const [index, bytes] of changes) {
      if (bytes === null) store.delete(index);
      else store.put(bytes, index);
    }
    await completed(transaction);
  }

  close(): void {
    this.#database.close();
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failure(request.error));
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(failure(transaction.error));
  });
}

function failure(cause: DOMException | null): HostError {
  if (cause?.name === 'QuotaExceededError') {
    return new HostError('NO_SPACE', 'the browser grants this page no more storage', { cause });
  }
  return new HostError('IO_ERROR', `the browser's storage failed: ${cause?.message ?? 'aborted'}`, { cause });
}
