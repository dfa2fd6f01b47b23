import { PeerError, UsageError } from '../errors.ts';
import { nowhere, type Region } from '../memory/region.ts';
import type { Segments } from './segments.ts';

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

  readonly #segments: Segments;
  #first = 0;
  #next = 0;
  #stop = 0;
  /** Bytes of the pieces up to and with the one that the cursor stands in. */
  #entered = 0;
  #length = 0;
  #open = false;

  constructor(segments: Segments) {
    this.#segments = segments;
  }

  /** Bytes in all. */
  get length(): number {
    return this.#length;
  }

  /** Bytes from the start to the cursor. */
  get position(): number {
    return this.#entered - this.left;
  }

  /** Bytes behind the cursor. */
  get remaining(): number {
    return this.#length - this.#entered + this.left;
  }

  /**
   * Moves the cursor to an absolute position, in bytes.
   *
   * @throws {PeerError} BAD_REQUEST for a position outside the chain: the driver gave too few bytes.
   */
  seek(position: number): void {
    this.#checkOpen();
    if (!(position >= 0 && position <= this.#length)) {
      throw new PeerError('BAD_REQUEST', `byte ${position} is not in the chain's ${this.#length} bytes`);
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

  /** @internal Puts the cursor before the segments `first` to `stop`. */
  start(first: number, stop: number, length: number): void {
    this.#first = first;
    this.#next = first;
    this.#stop = stop;
    this.#entered = 0;
    this.#length = length;
    this.#open = true;
    this.left = 0;
  }

  /** @internal From here on every use throws. */
  end(): void {
    this.#open = false;
    this.#entered -= this.left;
    this.left = 0;
  }

  /** True when the next `count` bytes lie in one piece, at `at` in `region`. */
  protected ready(count: number): boolean {
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
    this.#checkOpen();
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

  #enter(): void {
    this.#checkOpen();
    const index = this.#next;
    if (index === this.#stop) return;
    const segments = this.#segments;
    const length = segments.lengths[index]!;
    this.region = segments.regions[index]!;
    this.at = segments.offsets[index]!;
    this.left = length;
    this.#entered += length;
    this.#next = index + 1;
  }

  #rewind(): void {
    this.#next = this.#first;
    this.#entered = 0;
    this.left = 0;
  }

  #checkOpen(): void {
    if (!this.#open)
      throw new UsageError('CHAIN_COMPLETED', 'the chain was completed, or its queue was reset');
  }
}

function removedError(): PeerError {
  return new PeerError(
    'ADDRESS_OUT_OF_BOUNDS',
    'the memory of a chain was taken away while it was in flight',
  );
}
