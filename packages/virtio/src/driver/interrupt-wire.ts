/**
 * An interrupt on its way from a device to a driver in one process. The handler is called after the caller's turn, and
 * once however often it is asked for meanwhile: as processors do it.
 */
export class InterruptWire {
  #handler: (() => void) | undefined;
  #level = false;
  #due = false;

  /** The level of a line; the handler is called when it goes up, or is said to be up again. */
  set(level: boolean): void {
    this.#level = level;
    if (level) this.fire();
  }

  /** A message, which has no level. */
  fire(): void {
    if (this.#due || this.#handler === undefined) return;
    this.#due = true;
    void Promise.resolve().then(() => {
      this.#due = false;
      this.#handler?.();
    });
  }

  listen(handler: (() => void) | undefined): void {
    this.#handler = handler;
    if (this.#level) this.fire();
  }
}
