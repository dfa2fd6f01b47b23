import { PeerError, UsageError } from '../errors.ts';
import { nowhere, type Region } from '../memory/region.ts';
import type { ChainState } from './chain-state.ts';

/** Where a value that lies in several pieces is put together. */
const scratch: DataView = new DataView(new ArrayBuffer(8));
const scratchBytes: Uint8Array = new Uint8Array(scratch.buffer);

/**
 * What both cursors can tell and do. A cursor walks over one side of a chain and is blind to how the driver
 * framed it: values and slices may cross any number of descriptors.
 *
 * @spec 2.7.4.1 device: Basic Facilities of a Virtio Device / Message Framing
 */
export abstract class Cursor {
  /** The piece that the cursor stands in, where in it, and how many of its bytes are left. */
  protected region: Region = nowhere;
  protected at = 0;
  protected left = 0;

  protected readonly chain: ChainState;
  /** The chain's turn that the fields belong to; the cursor starts anew when the chain is used again. */
  #turn = 0;
  #nextSpan = 0;
  /** Bytes of the spans up to and with the one that the cursor stands in. */
  #entered = 0;

  constructor(chain: ChainState) {
    this.chain = chain;
  }

  /** Bytes in all. */
  abstract get length(): number;

  /** The first span, and the one behind the last. */
  protected abstract get firstSpan(): number;
  protected abstract get stopSpan(): number;

  /** Bytes from the start to the cursor. */
  get position(): number {
    return this.started ? this.#entered - this.left : 0;
  }

  /** Bytes behind the cursor. */
  get remaining(): number {
    return this.length - this.position;
  }

  /**
   * Moves the cursor to an absolute position, in bytes.
   *
   * @throws {PeerError} BAD_REQUEST for a position outside the chain: the driver gave too few bytes.
   */
  seek(position: number): void {
    this.begin();
    if (!(position >= 0 && position <= this.length)) {
      throw new PeerError('BAD_REQUEST', `byte ${position} is not in the chain's ${this.length} bytes`);
    }
    this.#rewind();
    let ahead = position;
    while (ahead > 0) {
      const run = this.piece(ahead);
      this.advance(run);
      ahead -= run;
    }
  }

  /**
   * The next `length` bytes as views of guest memory, and moves behind them. The views are good until the
   * next `await`: engines move their memory.
   *
   * @throws {PeerError} BAD_REQUEST when fewer are left.
   */
  slices(length: number): Uint8Array[] {
    this.need(length);
    const views: Uint8Array[] = [];
    let wanted = length;
    while (wanted > 0) {
      const run = this.piece(wanted);
      views.push(this.region.bytes.subarray(this.at, this.at + run));
      this.advance(run);
      wanted -= run;
    }
    return views;
  }

  /** True when the next `count` bytes lie in one piece, at `at` in `region`. */
  protected ready(count: number): boolean {
    if (!this.started) this.begin();
    if (this.left === 0) this.#enter();
    if (this.region.removed) throw removedError();
    return this.left >= count;
  }

  /** How many of the next `wanted` bytes, at least 1 of which exists, lie in one piece at `at`. */
  protected piece(wanted: number): number {
    this.ready(1);
    return wanted < this.left ? wanted : this.left;
  }

  protected advance(count: number): void {
    this.at += count;
    this.left -= count;
  }

  /** @throws {PeerError} BAD_REQUEST when fewer than `count` bytes are left. */
  protected need(count: number): void {
    this.begin();
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new UsageError('BAD_ARGUMENT', `${count} is no number of bytes`);
    }
    if (count > this.remaining) {
      throw new PeerError(
        'BAD_REQUEST',
        `${count} bytes are needed and ${this.remaining} are left in the chain`,
      );
    }
  }

  /** The next `count` bytes, at most 8, put together. */
  protected gather(count: number): DataView {
    this.need(count);
    this.copyOut(scratchBytes, count);
    return scratch;
  }

  /** Writes the first `count` bytes of the scratch, at most 8. */
  protected scatter(count: number): void {
    this.copyIn(scratchBytes, count);
  }

  /** Where `scatter` takes its bytes from, once it is sure that `count` bytes fit. */
  protected scratchFor(count: number): DataView {
    this.need(count);
    return scratch;
  }

  /** Copies the next `count` bytes, which exist. */
  protected copyOut(target: Uint8Array, count: number): void {
    let done = 0;
    while (done < count) {
      const run = this.piece(count - done);
      target.set(this.region.bytes.subarray(this.at, this.at + run), done);
      this.advance(run);
      done += run;
    }
  }

  /** Fills the next `count` bytes, which exist. */
  protected copyIn(source: Uint8Array, count: number): void {
    let done = 0;
    while (done < count) {
      const run = this.piece(count - done);
      this.region.bytes.set(source.subarray(done, done + run), this.at);
      this.advance(run);
      done += run;
    }
  }

  /** True when the fields are those of the buffer that the chain holds now. */
  protected get started(): boolean {
    return this.#turn === this.chain.turn;
  }

  /**
   * Puts the cursor at the start of the chain's buffer, once for each.
   *
   * @throws {UsageError} CHAIN_COMPLETED when it holds none.
   */
  protected begin(): void {
    if (this.chain.turn <= 0) {
      throw new UsageError('CHAIN_COMPLETED', 'the chain was completed, or its queue was reset');
    }
    if (this.started) return;
    this.#turn = this.chain.turn;
    this.#rewind();
  }

  /** Goes to the next span that has bytes, if there is one. */
  #enter(): void {
    const { spans, region, regions } = this.chain;
    const stop = this.stopSpan;
    while (this.left === 0 && this.#nextSpan < stop) {
      const span = this.#nextSpan++;
      const length = spans[2 * span + 1]!;
      this.region = region ?? regions[span]!;
      this.at = spans[2 * span]! - this.region.start;
      this.left = length;
      this.#entered += length;
    }
  }

  #rewind(): void {
    this.#nextSpan = this.firstSpan;
    this.#entered = 0;
    this.left = 0;
  }
}

function removedError(): PeerError {
  return new PeerError(
    'ADDRESS_OUT_OF_BOUNDS',
    'the memory of a chain was taken away while it was in flight',
  );
}
