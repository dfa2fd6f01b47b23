import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  type Stats,
  writeSync,
} from 'node:fs';
import { HostError } from 'virtio/errors';
import { linuxCalls } from '../ffi/linux.ts';
import { type FileEngine, threads } from './engine.ts';
import { failureOf } from './failures.ts';
import { punchHole, zeroRange } from './holes.ts';
import { lockImage } from './lock.ts';

/** Of fcntl(2). */
const F_SETFL = 4;

/** How a file is opened. */
export interface RawFileOptions {
  readonly readOnly: boolean;
  /** Bytes of a file that is made when there is none; with `new` there must be none, and it is made empty. */
  readonly create?: number | 'new' | undefined;
  /** Past the page cache: every transfer is then aligned, in the file and in memory. */
  readonly direct?: boolean;
  /** What moves bytes where nobody waits for them: the thread pool unless told. It is closed with the file. */
  readonly engine?: FileEngine;
}

/**
 * A file that holds an image, open and locked. Offsets and lengths are bytes. Every failure is a HostError with
 * the file's name; once closed, nothing reaches the descriptor any more.
 */
export class RawFile {
  readonly path: string;
  readonly readOnly: boolean;
  /** As it was found when the file was opened. */
  readonly stats: Stats;
  readonly engine: FileEngine;
  readonly #fd: number;
  readonly #pending = new Set<Promise<unknown>>();
  /** What the file system said that it cannot do. */
  readonly #cannot = new Set<typeof punchHole>();
  /** A flush that failed: the kernel drops what it could not write, and would call the next one a success. */
  #lost: HostError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(path: string, readOnly: boolean, fd: number, engine: FileEngine) {
    this.path = path;
    this.readOnly = readOnly;
    this.engine = engine;
    this.#fd = fd;
    this.stats = fstatSync(fd);
  }

  /**
   * Opens and locks a file: for one writer, or any number of readers.
   *
   * @throws {HostError} NOT_FOUND, IN_USE, NO_SPACE, IO_ERROR; BAD_IMAGE for what is no regular file.
   */
  static open(path: string, options: RawFileOptions): RawFile {
    const { readOnly, create, direct = false, engine = threads } = options;
    const { fd, made } = openDescriptor(path, readOnly, create, direct);
    try {
      lockImage(fd, path, readOnly ? 'shared' : 'exclusive');
      if (made && typeof create === 'number') ftruncateSync(fd, create);
      const file = new RawFile(path, readOnly, fd, engine);
      if (file.stats.isFile()) {
        mayWait(fd, direct);
        return file;
      }
      throw new HostError('BAD_IMAGE', `${path} is not a regular file: give a disk image`);
    } catch (error) {
      closeSync(fd);
      if (made) rmSync(path);
      throw error instanceof HostError ? error : failureOf(path, 'opened', error);
    }
  }

  /** @throws {HostError} IO_ERROR once it is closed. */
  checkOpen(): void {
    this.#open();
  }

  /** Fills `target`, or as much of it as the file has; answers how much. */
  read(offset: number, target: Uint8Array): number {
    let done = 0;
    while (done < target.length) {
      const count = this.#attempt('read', () =>
        readSync(this.#open(), target, done, target.length - done, offset + done),
      );
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      done += this.#attempt('written', () =>
        writeSync(this.#open(), source, done, source.length - done, offset + done),
      );
    }
  }

  /** As `read`, while nobody waits. A single call to the system: where it gives less, ask again. */
  async readLater(offset: number, target: Uint8Array): Promise<number> {
    const fd = this.#open();
    return this.#later('read', this.engine.read(fd, target, offset));
  }

  /** As `write`, while nobody waits. A single call to the system: where it takes less, write the rest. */
  async writeLater(offset: number, source: Uint8Array): Promise<number> {
    const fd = this.#open();
    return this.#later('written', this.engine.write(fd, source, offset));
  }

  /** Makes what was written before this call stable. Nobody waits for it: a disk takes milliseconds. */
  async flush(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    const fd = this.#open();
    try {
      await this.#later('flushed', this.engine.sync(fd));
    } catch (error) {
      if (error instanceof HostError) this.#lost = error;
      throw error;
    }
  }

  /** The same, at once: the whole process waits for the disk. */
  flushNow(): void {
    if (this.#lost !== undefined) throw this.#lost;
    try {
      this.#attempt('flushed', () => fdatasyncSync(this.#open()));
    } catch (error) {
      if (error instanceof HostError) this.#lost = error;
      throw error;
    }
  }

  /** Gives the room of a range back, which then reads as 0; false where the file system cannot. */
  punch(offset: number, length: number): boolean {
    return this.#make(punchHole, offset, length);
  }

  /** Makes a range read as 0 and keep its room; false where the file system cannot. */
  zero(offset: number, length: number): boolean {
    return this.#make(zeroRange, offset, length);
  }

  truncate(size: number): void {
    this.#attempt('resized', () => ftruncateSync(this.#open(), size));
  }

  /** Waits for what is under way, and lets go of the file and its lock. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A descriptor that is closed under a flush may be another file by the time the flush reaches it.
    await Promise.allSettled(this.#pending);
    this.engine.close();
    closeSync(this.#fd);
  }

  /** Once closed, the descriptor may be any other file of this process: a guest that goes on must not reach it. */
  #open(): number {
    if (this.#closing === undefined) return this.#fd;
    throw new HostError('IO_ERROR', `${this.path} is closed`);
  }

  #make(what: typeof punchHole, offset: number, length: number): boolean {
    if (length === 0) return true;
    if (this.#cannot.has(what)) return false;
    const result = what(this.#open(), offset, length);
    if (result === 'done') return true;
    if (result !== 'unsupported') throw failureOf(this.path, 'written', result);
    this.#cannot.add(what);
    return false;
  }

  async #later<T>(what: string, work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    try {
      return await work;
    } catch (error) {
      throw failureOf(this.path, what, error);
    } finally {
      this.#pending.delete(work);
    }
  }

  #attempt<T>(what: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw error instanceof HostError ? error : failureOf(this.path, what, error);
    }
  }
}

function openDescriptor(
  path: string,
  readOnly: boolean,
  create: RawFileOptions['create'],
  direct: boolean,
): { readonly fd: number; readonly made: boolean } {
  // A pipe that nobody writes would be waited for: it is opened without, and then refused.
  const flags = (constants.O_NONBLOCK ?? 0) | (direct ? directFlag(path) : 0);
  const mode = flags | (readOnly ? constants.O_RDONLY : constants.O_RDWR);
  const failed = (what: string, error: unknown): HostError =>
    direct && isInvalid(error) ? noDirect(path, error) : failureOf(path, what, error);
  try {
    if (create !== 'new') return { fd: openSync(path, mode), made: false };
  } catch (error) {
    const failure = failed(readOnly ? 'read' : 'opened for writing', error);
    if (create === undefined || readOnly || failure.code !== 'NOT_FOUND') throw failure;
  }
  try {
    return { fd: openSync(path, mode | constants.O_CREAT | constants.O_EXCL), made: true };
  } catch (error) {
    throw failed('made', error);
  }
}

/** A file that says O_NONBLOCK gets EAGAIN from io_uring, in kernels before 5.15, for what is not in memory. */
function mayWait(fd: number, direct: boolean): void {
  if (process.platform === 'linux') linuxCalls().fcntl(fd, F_SETFL, direct ? constants.O_DIRECT : 0);
}

function directFlag(path: string): number {
  // Node has the constant where the system has the flag.
  if (constants.O_DIRECT === undefined) throw noDirect(path);
  return constants.O_DIRECT;
}

/** What is said of a file that cannot be read past the page cache. */
export function noDirect(path: string, cause?: unknown): HostError {
  const message = `${path} is where no direct I/O can be had: open it without \`direct\``;
  return new HostError('IO_ERROR', message, { cause });
}

const isInvalid = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EINVAL';
