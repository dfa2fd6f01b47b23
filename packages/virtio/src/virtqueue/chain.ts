import { ReadableCursor } from './readable-cursor.ts';
import { Segments } from './segments.ts';
import { WritableCursor } from './writable-cursor.ts';

export type { Cursor } from './cursor.ts';
export { ReadableCursor } from './readable-cursor.ts';
export { WritableCursor } from './writable-cursor.ts';

/** Pooled; the device has it; completed, and waiting for those taken before it; left behind by a reset. */
type State = 'free' | 'live' | 'completed' | 'dead';

/**
 * One buffer that the driver made available, the same whichever ring it came from. Chains are used again:
 * do not keep one past its completion.
 */
export class Chain {
  readonly readable: ReadableCursor;
  readonly writable: WritableCursor;
  /** @internal */
  readonly segments: Segments = new Segments();
  /** @internal Ring entries that the buffer occupies: descriptors of a packed list, 1 otherwise. */
  entries = 1;
  /** @internal Rises from chain to chain in the order in which they were taken. */
  order = 0;
  #id = 0;
  #state: State = 'free';

  constructor() {
    this.readable = new ReadableCursor(this.segments);
    this.writable = new WritableCursor(this.segments);
  }

  /** Head index (split) or Buffer ID (packed). */
  get id(): number {
    return this.#id;
  }

  /** False once completed, or dead after a reset. */
  get live(): boolean {
    return this.#state === 'live';
  }

  /** @internal */
  get state(): State {
    return this.#state;
  }

  /** @internal Hands the segments to the device. */
  start(id: number): void {
    const { segments } = this;
    const { writableFrom } = segments;
    this.#id = id;
    this.#state = 'live';
    this.readable.start(0, writableFrom, segments.readableLength);
    this.writable.start(writableFrom, segments.count, segments.writableLength);
  }

  /** @internal */
  end(state: 'completed' | 'free' | 'dead'): void {
    this.#state = state;
    this.readable.end();
    this.writable.end();
  }
}
