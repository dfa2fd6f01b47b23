import { deferred } from './deferred.ts';
import type { Ending } from './ending.ts';
import { EscapeKeys, escapeHelp } from './escape-keys.ts';
import type { Guest } from './guest.ts';
import type { RawTerminal } from './terminal.ts';

const bell = '\x07';

/**
 * Gives the user's terminal to the guest until the shell ends, the user leaves, or the machine ends.
 *
 * @param say writes to the terminal what is ours
 */
export async function runShell(
  guest: Guest,
  terminal: RawTerminal,
  say: (text: string) => void,
): Promise<Ending> {
  const left = deferred<Ending>();
  const keys = new EscapeKeys();
  const command = { leave: () => left.resolve({ kind: 'left' }), help: () => say(helpText) };
  terminal.enter(
    (bytes) => {
      for (const action of keys.push(bytes)) {
        if ('command' in action) command[action.command]();
        else if (!guest.type(action.send)) say(bell);
      }
    },
    (size) => guest.window.resize(size),
  );
  guest.window.resize(terminal.size);
  // An init of the user's may never be ready for this, and has the terminal all the same.
  guest.ready.then(() => guest.instruct({ type: 'shell', ...terminal.size })).catch(left.reject);
  try {
    return await Promise.race([guest.ended, left.promise]);
  } finally {
    terminal.leave();
  }
}

const helpText = `\r\n${escapeHelp.map((line) => `virtio: ${line}\r\n`).join('')}`;
