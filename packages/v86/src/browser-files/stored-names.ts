import { decodeName, encodeName } from 'virtio/devices/fs';

/** What is ours in a folder begins so; no name of a guest's is stored under such a name as it is. */
const ours = '.virtio-';
const spelled = `${ours}name-`;
const gone = `${ours}gone-`;

/** The file in each folder that has what the browser's storage has no place for. */
export const recordName = `${ours}record`;

/** Where a file that was removed while it was open stays until it is closed. */
export const goneName = (ino: number): string => `${gone}${ino}`;

/** What Chromium calls a file while it is written anew, beside the old one; a crash leaves it behind. */
const swap = '.crswap';

/** What nobody needs once its page has gone. */
export const isLeftover = (stored: string): boolean => stored.startsWith(gone) || stored.endsWith(swap);

// Control characters, halves of surrogate pairs, and what some systems take for more than a letter.
const odd = /[\p{Cc}\p{Cs}"*/:<>?\\|]/u;

const isPlain = (name: string): boolean =>
  !odd.test(name) && !name.startsWith(ours) && !/([. ]|\.crswap)$/.test(name);

/** The name under which a browser stores a file: the guest's own, or, where it might not take that, spelled out. */
export function storedName(name: string): string {
  if (isPlain(name)) return name;
  const bytes = Array.from(encodeName(name), (byte) => {
    const letter = String.fromCharCode(byte);
    return /[\w-]/.test(letter) ? letter : `%${byte.toString(16).padStart(2, '0')}`;
  });
  return spelled + bytes.join('');
}

/** The guest's name of what is stored under a name; `undefined` for what is not the guest's. */
export function guestName(stored: string): string | undefined {
  if (stored.endsWith(swap)) return undefined;
  if (!stored.startsWith(ours)) return stored;
  if (!stored.startsWith(spelled)) return undefined;
  const bytes = stored
    .slice(spelled.length)
    .replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const name = decodeName(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)));
  // Whatever else put it there: two names must never mean one file.
  return storedName(name) === stored && isName(name) ? name : undefined;
}

/** Whether a name can be one of a file at all. */
export const isName = (name: string): boolean =>
  name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');
