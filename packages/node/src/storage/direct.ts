import { HostError } from 'virtio/errors';
import { systemCalls } from '../ffi/files.ts';
import { noDirect, type RawFile } from './raw-file.ts';
import { type BlockAccess, WholeBlocks } from './whole-blocks.ts';

/** Bytes that one transfer bounces at a time. */
const pieceLength = 256 * 1024;
/** Every system's direct I/O is content with this alignment in memory. */
const memoryAlignment = 4096;
/** What a file system may ask of offsets and lengths. */
const alignments = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/** Transfers past the page cache: the system wants offsets, lengths and memory aligned. */
export class DirectTransfers implements BlockAccess {
  readonly blockSize: number;
  readonly pieceLength: number = pieceLength;
  readonly #file: RawFile;
  readonly #blocks: WholeBlocks = new WholeBlocks(this);

  /** `alignment` is of offsets and lengths, in bytes. */
  constructor(file: RawFile, alignment: number) {
    this.#file = file;
    this.blockSize = alignment;
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
    if (size % this.blockSize === 0) return;
    throw new HostError(
      'BAD_IMAGE',
      `${this.#file.path}: direct I/O wants blocks of ${this.blockSize} bytes here, and ${size} are not whole ones: ` +
        `open it without \`direct\`, or pad it with \`truncate -s ${this.#blocks.up(size)}\``,
    );
  }

  /** Fills `target`, or as much of it as the file has; answers how much. */
  read(offset: number, target: Uint8Array): Promise<number> {
    return this.#blocks.read(offset, target);
  }

  write(offset: number, source: Uint8Array): Promise<void> {
    return this.#blocks.write(offset, source);
  }

  /** Changes a range by other means than a write. */
  change<T>(offset: number, length: number, work: () => T): Promise<T> {
    return this.#blocks.change(offset, length, work);
  }

  allocate(): Uint8Array {
    return alignedMemory(pieceLength);
  }

  async fill(offset: number, target: Uint8Array): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const count = await this.#file.readLater(offset + done, target.subarray(done));
      done += count;
      // A part of a block is the end of the file, and what is behind it could not be asked for.
      if (count === 0 || count % this.blockSize !== 0) break;
    }
    return done;
  }

  async store(offset: number, source: Uint8Array): Promise<void> {
    for (let done = 0; done < source.length; ) {
      const count = await this.#file.writeLater(offset + done, source.subarray(done));
      if (count < this.blockSize) {
        throw new HostError(
          'IO_ERROR',
          `${this.#file.path} took ${count} bytes of a block of ${this.blockSize}`,
        );
      }
      done += this.#blocks.down(count);
    }
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
