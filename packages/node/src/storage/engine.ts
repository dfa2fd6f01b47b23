import { fdatasync, read, write } from 'node:fs';
import { promisify } from 'node:util';

const readLater = promisify(read);
const writeLater = promisify(write);

/**
 * Moves bytes of open files without the event loop waiting. Each is one call of the system, and rejects with its error;
 * the memory is the engine's until it settles.
 */
export interface FileEngine {
  readonly name: 'threads' | 'io_uring';
  /** Answers how many bytes came; 0 at the end of the file. */
  read(fd: number, target: Uint8Array, offset: number): Promise<number>;
  /** Answers how many bytes were taken. */
  write(fd: number, source: Uint8Array, offset: number): Promise<number>;
  /** As fdatasync(2). */
  sync(fd: number): Promise<void>;
  /** Nothing is under way any more, and nothing comes. */
  close(): void;
}

/** Node's thread pool. */
export const threads: FileEngine = {
  name: 'threads',
  read: async (fd, target, offset) => (await readLater(fd, target, 0, target.length, offset)).bytesRead,
  write: async (fd, source, offset) => (await writeLater(fd, source, 0, source.length, offset)).bytesWritten,
  sync: promisify(fdatasync),
  close() {},
};
