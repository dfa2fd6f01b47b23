import type { Terminal } from '@xterm/xterm';

/** From here on the guest waits for the screen, in bytes. */
const mostAhead = 2 ** 18;

/** What the guest writes, on its way to the screen. */
export class Screen {
  readonly #terminal: Terminal;
  #ahead = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Shows bytes. A guest that writes without end must wait for a promise, or it would fill the page's memory. */
  write(bytes: Uint8Array): void | Promise<void> {
    this.#ahead += bytes.length;
    const shown = new Promise<void>((done) => {
      this.#terminal.write(bytes, () => {
        this.#ahead -= bytes.length;
        done();
      });
    });
    return this.#ahead > mostAhead ? shown : undefined;
  }
}
