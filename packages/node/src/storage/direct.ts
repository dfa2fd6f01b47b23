import { HostError } from 'virtio/errors';
import { systemCalls } from '../ffi/files.ts';
import { noDirect, type RawFile } from './raw-file.ts';

/** Bytes that one transfer bounces at a time. */
const pieceLength = 256 * 1024;
/** Every system's direct I/O is content with this alignment in memory. */
const memoryAlignment = 4096;
/** Bounce buffers that are kept when nobody needs them. */
const mostIdle = 16;
/** What a file system may ask of offsets and lengths. */
const alignments = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/** A write that is under way, in whole blocks. */
interface Busy {
  readonly from: number;
  readonly to: number;
  readonly done: Promise<void>;
}

/**
 * Transfers past the page cache: the system wants offsets, lengths and memory aligned, so bytes go through buffers
 * of our own. A write of parts of blocks reads them first; no other write touches them meanwhile.
 */
export class DirectTransfers {
  readonly #file: RawFile;
  readonly #alignment: number;
  readonly #idle: Uint8Array[] = [];
  readonly #busy = new Set<Busy>();

  /** `alignment` is of offsets and lengths, in bytes. */
  constructor(file: RawFile, alignment: number) {
    this.#file = file;
    this.#alignment = alignment;
  }

  /**
   * Finds out what alignment the file wants, by reading its beginning.
   *
   * @throws {HostError} IO_ERROR when no direct I/O can be had, BAD_IMAGE when the file is not whole blocks.
   */
  static async probe(file: RawFile, size: number): Promise<DirectTransfers> {
    const memory = alignedMemory(alignments.at(-1)!);
    for (const alignment of alignments) {
      try {
        await file.readLater(0, memory.subarray(0, alignment));
      } catch (error) {
        if (isInvalid(error)) continue;
        throw error;
      }
      const transfers = new DirectTransfers(file, alignment);
      transfers.checkSize(size);
      return transfers;
    }
    throw noDirect(file.path);
  }

  /** @throws {HostError} BAD_IMAGE for a size that is not whole blocks. */
  checkSize(size: number): void {
    if (size % this.#alignment === 0) return;
    const next = Math.ceil(size / this.#alignment) * this.#alignment;
    throw new HostError(
      'BAD_IMAGE',
      `${this.#file.path}: direct I/O wants blocks of ${this.#alignment} bytes here, and ${size} are not whole ones: ` +
        `open it without \`direct\`, or pad it with \`truncate -s ${next}\``,
    );
  }

  /** Fills `target`, or as much of it as the file has; answers how much. */
  async read(offset: number, target: Uint8Array): Promise<number> {
    const memory = this.#take();
    try {
      let done = 0;
      while (done < target.length) {
        const from = this.#down(offset + done);
        const skipped = offset + done - from;
        const wanted = Math.min(target.length - done, pieceLength - skipped);
        const got = (await this.#fill(from, memory.subarray(0, this.#up(skipped + wanted)))) - skipped;
        if (got <= 0) break;
        target.set(memory.subarray(skipped, skipped + Math.min(got, wanted)), done);
        done += Math.min(got, wanted);
        if (got < wanted) break;
      }
      return done;
    } finally {
      this.#give(memory);
    }
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    const [from, to] = [this.#down(offset), this.#up(offset + source.length)];
    // Whole blocks need nobody's patience, but parts of one may be on their way to it.
    if (this.#alignment === 512) return this.#store(offset, source);
    for (let other = this.#overlap(from, to); other; other = this.#overlap(from, to)) {
      await other.done.catch(() => {});
    }
    const done = this.#store(offset, source);
    const busy: Busy = { from, to, done };
    this.#busy.add(busy);
    try {
      await done;
    } finally {
      this.#busy.delete(busy);
    }
  }

  #overlap(from: number, to: number): Busy | undefined {
    for (const busy of this.#busy) if (busy.from < to && busy.to > from) return busy;
    return undefined;
  }

  async #store(offset: number, source: Uint8Array): Promise<void> {
    const memory = this.#take();
    const block = this.#alignment;
    try {
      for (let done = 0; done < source.length; ) {
        const from = this.#down(offset + done);
        const skipped = offset + done - from;
        const count = Math.min(source.length - done, pieceLength - skipped);
        const end = this.#up(skipped + count);
        if (skipped > 0) await this.#fill(from, memory.subarray(0, block));
        const last = end - block;
        if (end > skipped + count && (last > 0 || skipped === 0)) {
          await this.#fill(from + last, memory.subarray(last, end));
        }
        memory.set(source.subarray(done, done + count), skipped);
        await this.#drain(from, memory.subarray(0, end));
        done += count;
      }
    } finally {
      this.#give(memory);
    }
  }

  /** Reads whole blocks, as many as there are. */
  async #fill(offset: number, target: Uint8Array): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const count = await this.#file.readLater(offset + done, target.subarray(done));
      done += count;
      // A part of a block is the end of the file, and what is behind it could not be asked for.
      if (count === 0 || count % this.#alignment !== 0) break;
    }
    return done;
  }

  async #drain(offset: number, source: Uint8Array): Promise<void> {
    for (let done = 0; done < source.length; ) {
      const count = await this.#file.writeLater(offset + done, source.subarray(done));
      if (count < this.#alignment) {
        throw new HostError(
          'IO_ERROR',
          `${this.#file.path} took ${count} bytes of a block of ${this.#alignment}`,
        );
      }
      done += this.#down(count);
    }
  }

  #take(): Uint8Array {
    return this.#idle.pop() ?? alignedMemory(pieceLength);
  }

  #give(memory: Uint8Array): void {
    if (this.#idle.length < mostIdle) this.#idle.push(memory);
  }

  #down(offset: number): number {
    return Math.floor(offset / this.#alignment) * this.#alignment;
  }

  #up(offset: number): number {
    return Math.ceil(offset / this.#alignment) * this.#alignment;
  }
}

/** Memory at an address that direct I/O accepts. The engine never moves what lies in an ArrayBuffer of its own. */
function alignedMemory(length: number): Uint8Array {
  const buffer = new ArrayBuffer(length + memoryAlignment);
  const misplaced = Number(systemCalls().addressOf(buffer) % BigInt(memoryAlignment));
  return new Uint8Array(buffer, (memoryAlignment - misplaced) % memoryAlignment, length);
}

function isInvalid(error: unknown): boolean {
  const cause = error instanceof HostError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'EINVAL';
}
