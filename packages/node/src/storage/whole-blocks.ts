/** What can be reached in whole blocks alone. Offsets and lengths are bytes, and multiples of `blockSize`. */
export interface BlockAccess {
  readonly blockSize: number;
  /** Bytes that one transfer has at most. */
  readonly pieceLength: number;
  /** Memory for transfers, of `pieceLength` bytes. */
  allocate(): Uint8Array;
  /** Fills `target`, or as much of it as there is; answers how much. */
  fill(offset: number, target: Uint8Array): Promise<number>;
  store(offset: number, source: Uint8Array): Promise<void>;
}

/** Buffers that are kept when nobody needs them. */
const mostIdle = 16;
const sectorSize = 512;

/** A change that is under way, in whole blocks. */
interface Busy {
  readonly from: number;
  readonly to: number;
  readonly done: Promise<unknown>;
}

/**
 * Reaches any sectors through whole blocks: bytes go through buffers of our own, and a write of parts of blocks reads
 * them first, while nothing else changes them.
 */
export class WholeBlocks {
  readonly #access: BlockAccess;
  readonly #idle: Uint8Array[] = [];
  readonly #busy = new Set<Busy>();

  constructor(access: BlockAccess) {
    this.#access = access;
  }

  /** Fills `target`, or as much of it as there is; answers how much. */
  async read(offset: number, target: Uint8Array): Promise<number> {
    const memory = this.#take();
    try {
      let done = 0;
      while (done < target.length) {
        const from = this.down(offset + done);
        const skipped = offset + done - from;
        const wanted = Math.min(target.length - done, this.#access.pieceLength - skipped);
        const filled = await this.#access.fill(from, memory.subarray(0, this.up(skipped + wanted)));
        const got = Math.min(filled - skipped, wanted);
        if (got > 0) target.set(memory.subarray(skipped, skipped + got), done);
        done += Math.max(0, got);
        if (got < wanted) break;
      }
      return done;
    } finally {
      this.#give(memory);
    }
  }

  write(offset: number, source: Uint8Array): Promise<void> {
    return this.change(offset, source.length, () => this.#store(offset, source));
  }

  /** Changes a range by `work` while nothing else changes its blocks: a write of parts would bring back what they were. */
  async change<T>(offset: number, length: number, work: () => T | Promise<T>): Promise<T> {
    // A sector is never written in parts.
    if (this.#access.blockSize <= sectorSize) return work();
    const [from, to] = [this.down(offset), this.up(offset + length)];
    for (let other = this.#overlap(from, to); other; other = this.#overlap(from, to)) {
      await other.done.catch(() => {});
    }
    const done = work();
    const busy: Busy = { from, to, done: Promise.resolve(done) };
    this.#busy.add(busy);
    try {
      return await done;
    } finally {
      this.#busy.delete(busy);
    }
  }

  /** The beginning of the block that holds a byte. */
  down(offset: number): number {
    return Math.floor(offset / this.#access.blockSize) * this.#access.blockSize;
  }

  /** The beginning of the first block from a byte on. */
  up(offset: number): number {
    return Math.ceil(offset / this.#access.blockSize) * this.#access.blockSize;
  }

  #overlap(from: number, to: number): Busy | undefined {
    for (const busy of this.#busy) if (busy.from < to && busy.to > from) return busy;
    return undefined;
  }

  async #store(offset: number, source: Uint8Array): Promise<void> {
    const memory = this.#take();
    const { blockSize, pieceLength } = this.#access;
    try {
      for (let done = 0; done < source.length; ) {
        const from = this.down(offset + done);
        const skipped = offset + done - from;
        const count = Math.min(source.length - done, pieceLength - skipped);
        const end = this.up(skipped + count);
        const last = end - blockSize;
        if (skipped > 0) await this.#access.fill(from, memory.subarray(0, blockSize));
        if (end > skipped + count && (last > 0 || skipped === 0)) {
          await this.#access.fill(from + last, memory.subarray(last, end));
        }
        memory.set(source.subarray(done, done + count), skipped);
        await this.#access.store(from, memory.subarray(0, end));
        done += count;
      }
    } finally {
      this.#give(memory);
    }
  }

  #take(): Uint8Array {
    return this.#idle.pop() ?? this.#access.allocate();
  }

  #give(memory: Uint8Array): void {
    if (this.#idle.length < mostIdle) this.#idle.push(memory);
  }
}
