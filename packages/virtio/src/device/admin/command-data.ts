import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import type { ReadableCursor } from '../../virtqueue/chain.ts';

/**
 * The device-readable part of a command. It may be shorter than the command needs, and is then zero behind
 * its end; or longer, and nobody looks there.
 *
 * @spec 2.13.1 device: Basic Facilities of a Virtio Device / Administration virtqueues
 */
export class CommandData {
  readonly #cursor: ReadableCursor;

  constructor(cursor: ReadableCursor) {
    this.#cursor = cursor;
  }

  /** Bytes that the driver gave and that were not taken yet. */
  get remaining(): number {
    return this.#cursor.remaining;
  }

  /** The next `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(length);
    this.#cursor.readInto(taken);
    return taken;
  }

  /** A structure without a variable tail. */
  struct<F extends Fields>(layout: Struct<F>): StructValue<F> {
    return layout.read(new DataView(this.bytes(layout.size).buffer));
  }

  /** What the driver gave behind the fixed fields: at most `most` bytes of it. */
  rest(most: number): Uint8Array<ArrayBuffer> {
    return this.bytes(Math.min(most, this.remaining));
  }

  /** Passes over bytes; false when there are not so many. */
  skip(length: number): boolean {
    if (length > this.remaining) return false;
    this.#cursor.seek(this.#cursor.position + length);
    return true;
  }
}
