/** How many bytes all connections together may have promised room for, or hold. */
export class Budget {
  readonly #limit: number;
  #promised = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes that may still be promised; never less than 0. */
  get free(): number {
    return Math.max(0, this.#limit - this.#promised);
  }

  /** Bytes that are promised now. */
  get promised(): number {
    return this.#promised;
  }

  /** More is promised; or less, when it is negative. */
  promise(bytes: number): void {
    this.#promised += bytes;
  }
}
