/** What the user wants of us rather than of the guest. */
export type EscapeCommand = 'leave' | 'help';

/** What a stretch of typed bytes means: bytes for the guest, and what was asked of us, in order. */
export type EscapeAction = { readonly send: Uint8Array } | { readonly command: EscapeCommand };

const controlA = 0x01;
const meanings: ReadonlyMap<string, EscapeCommand> = new Map([
  ['x', 'leave'],
  ['h', 'help'],
  ['?', 'help'],
]);

/** Said on Ctrl-A h. */
export const escapeHelp: readonly string[] = [
  'Ctrl-A x       leave at once, as if the plug were pulled; `exit` syncs the disks first',
  'Ctrl-A Ctrl-A  send one Ctrl-A to the guest (Ctrl-A a does as well)',
  'Ctrl-A h       this help',
];

/** Finds our own keys among the bytes that were typed; a Ctrl-A waits for the key after it, however late. */
export class EscapeKeys {
  #pending = false;

  /** Any other key after Ctrl-A is swallowed, so that a slip types nothing. */
  push(bytes: Uint8Array): EscapeAction[] {
    const actions: EscapeAction[] = [];
    let start = 0;
    const send = (end: number): void => {
      if (end > start) actions.push({ send: bytes.slice(start, end) });
    };
    for (const [index, byte] of bytes.entries()) {
      if (this.#pending) {
        this.#pending = false;
        const command = meanings.get(String.fromCharCode(byte).toLowerCase());
        if (command !== undefined) actions.push({ command });
        if (byte === controlA || byte === 0x61) actions.push({ send: Uint8Array.of(controlA) });
        start = index + 1;
      } else if (byte === controlA) {
        send(index);
        this.#pending = true;
        start = index + 1;
      }
    }
    send(bytes.length);
    return actions;
  }
}
