import { spawnSync } from 'node:child_process';
import { TerminalModes } from './terminal-modes.ts';

const lineFeed = 0x0a;

/** Columns and rows of characters. */
export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

/**
 * The user's terminal while the guest has it: raw, and put back as it was whatever ends the process. Only a
 * signal that nobody can catch leaves it raw.
 */
export class RawTerminal {
  readonly #input: NodeJS.ReadStream;
  readonly #output: NodeJS.WriteStream;
  readonly #modes = new TerminalModes();
  #entered = false;
  /** Whether the guest left the cursor behind something that it wrote. */
  #lineBegun = false;

  constructor(input: NodeJS.ReadStream = process.stdin, output: NodeJS.WriteStream = process.stdout) {
    this.#input = input;
    this.#output = output;
  }

  /** The window's size now; 80 by 24 where nobody knows. */
  get size(): WindowSize {
    const stream = [this.#output, process.stderr].find(({ isTTY }) => isTTY);
    return { columns: stream?.columns || 80, rows: stream?.rows || 24 };
  }

  /** Takes the terminal: from now on every key is for `onInput`, and the guest hears of each new size. */
  enter(onInput: (bytes: Uint8Array) => void, onResize: (size: WindowSize) => void): void {
    this.#entered = true;
    this.#makeRaw();
    this.#input.on('data', onInput);
    this.#input.resume();
    this.#output.on('resize', () => onResize(this.size));
    process.on('exit', this.#leave);
    // Whoever stopped us may have changed the terminal since.
    process.on('SIGCONT', this.#reenter);
  }

  /** Output of the guest on its way to the terminal. */
  watch(bytes: Uint8Array): void {
    this.#modes.watch(bytes);
    this.#lineBegun = bytes.at(-1) !== lineFeed;
  }

  /** Gives the terminal back; does nothing the second time. */
  leave(): void {
    if (!this.#entered) return;
    this.#entered = false;
    process.off('exit', this.#leave);
    process.off('SIGCONT', this.#reenter);
    this.#input.removeAllListeners('data');
    this.#output.removeAllListeners('resize');
    this.#input.setRawMode(false);
    this.#input.pause();
    if (this.#output.isTTY) this.#output.write(`${this.#modes.restore()}${this.#lineBegun ? '\r\n' : ''}`);
  }

  readonly #leave = (): void => this.leave();
  readonly #reenter = (): void => {
    this.#input.setRawMode(false);
    this.#makeRaw();
  };

  /** Node leaves a terminal to turn line feeds into new lines, which would break what a guest draws. */
  #makeRaw(): void {
    this.#input.setRawMode(true);
    spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
  }
}
