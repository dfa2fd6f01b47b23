/** Views that are kept, a power of two: frames have few lengths, most of the time. */
const kept = 256;

/** Room for one frame at a time, and views of it that are made once for each length that comes again. */
export class FrameBuffer {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #views: (Uint8Array<ArrayBuffer> | undefined)[];

  /** For frames of up to so many bytes. */
  constructor(largest: number) {
    this.#bytes = new Uint8Array(largest);
    this.#views = Array.from({ length: kept }, () => undefined);
  }

  /** The first `length` bytes. */
  view(length: number): Uint8Array<ArrayBuffer> {
    const slot = length & (kept - 1);
    const before = this.#views[slot];
    if (before?.length === length) return before;
    const made = this.#bytes.subarray(0, length);
    this.#views[slot] = made;
    return made;
  }
}
