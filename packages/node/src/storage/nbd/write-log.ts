/** A write that the server has answered, and may have in its memory alone. */
export interface LoggedWrite {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly count: number;
  /** Ours; none for what has no data. */
  readonly bytes: Uint8Array | undefined;
}

/** What an entry takes beside its bytes, about. */
const entryLength = 256;

/** All writes that were answered and not flushed, in the order of their answers. */
export class WriteLog {
  readonly #most: number;
  #writes: LoggedWrite[] = [];
  /** How many there were before the first one. */
  #pruned = 0;
  #length = 0;

  /** @param most bytes from which on it is full. */
  constructor(most: number) {
    this.#most = most;
  }

  /** More may still be added: what is under way when it becomes full. */
  get isFull(): boolean {
    return this.#length >= this.#most;
  }

  /** The end of it, for `prune`. */
  get end(): number {
    return this.#pruned + this.#writes.length;
  }

  get writes(): readonly LoggedWrite[] {
    return this.#writes;
  }

  /** @param source copied. */
  add(type: number, flags: number, offset: number, count: number, source: Uint8Array | undefined): void {
    const bytes = source && new Uint8Array(source);
    this.#writes.push({ type, flags, offset, count, bytes });
    this.#length += entryLength + (bytes?.length ?? 0);
  }

  /** What was there when its end was `end` is stable now. */
  prune(end: number): void {
    const stable = this.#writes.slice(0, Math.max(0, end - this.#pruned));
    for (const { bytes } of stable) this.#length -= entryLength + (bytes?.length ?? 0);
    this.#writes = this.#writes.slice(stable.length);
    this.#pruned += stable.length;
  }
}
