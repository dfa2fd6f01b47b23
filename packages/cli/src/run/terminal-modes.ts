/** Private modes that a program may leave behind, and how a sane terminal has them. */
const saneModes: ReadonlyMap<number, boolean> = new Map([
  [1, false], // application cursor keys
  [5, false], // reverse video
  [7, true], // wrap at the margin
  [9, false], // mouse
  [25, true], // cursor
  [47, false], // alternate screen
  [1000, false], // mouse
  [1002, false],
  [1003, false],
  [1004, false], // focus reports
  [1005, false], // mouse encodings
  [1006, false],
  [1015, false],
  [1047, false], // alternate screen
  [1049, false],
  [2004, false], // bracketed paste
]);

const esc = '\x1b';
const setOrReset = new RegExp(`${esc}\\[\\?([\\d;]*)([hl])`, 'g');
const unfinished = new RegExp(`${esc}(?:\\[(?:\\?[\\d;]*)?)?$`);
const fullReset = `${esc}c`;
const longestSequence = 64;

/**
 * Watches what the guest sends to the terminal for modes that outlive it, so that exactly those can be undone:
 * leaving an alternate screen that was never entered would move the cursor.
 */
export class TerminalModes {
  readonly #changed = new Map<number, boolean>();
  #tail = '';

  /** Output on its way to the terminal. */
  watch(bytes: Uint8Array): void {
    if (this.#tail === '' && !bytes.includes(0x1b)) return;
    const text = this.#tail + Buffer.from(bytes).toString('latin1');
    for (const [, list = '', final] of text.matchAll(setOrReset)) {
      for (const mode of list.split(';').map(Number)) this.#set(mode, final === 'h');
    }
    if (text.includes(fullReset)) this.#changed.clear();
    this.#tail = unfinished.exec(text)?.[0].slice(-longestSequence) ?? '';
  }

  /** What makes the terminal sane again: the modes that were left changed, then plain text and character set. */
  restore(): string {
    const undo = [...this.#changed].map(([mode, on]) => `\x1b[?${mode}${on ? 'l' : 'h'}`);
    return `${undo.join('')}\x1b[0m\x1b(B\x0f`;
  }

  #set(mode: number, on: boolean): void {
    const sane = saneModes.get(mode);
    if (sane === undefined) return;
    if (sane === on) this.#changed.delete(mode);
    else this.#changed.set(mode, on);
  }
}
