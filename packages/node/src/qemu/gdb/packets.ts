/** The longest packet that is taken, in characters. */
export const longestPacket = 1 << 20;

const escaping = 0x7d;
const repeating = 0x2a;

/** A packet of the protocol: its text between `$` and `#`, and a checksum. Text is ASCII without `$`, `#`, `}` and `*`. */
export function packetOf(text: string): string {
  return `$${text}#${checksum(text)}`;
}

/** The sum of the characters, as two hexadecimal digits. */
function checksum(text: string): string {
  let sum = 0;
  for (let at = 0; at < text.length; at++) sum = (sum + text.charCodeAt(at)) & 0xff;
  return sum.toString(16).padStart(2, '0');
}

/**
 * Finds packets in what was received. Acknowledgements between them are left out.
 *
 * @returns the packets' texts, with escapes and repetitions undone, and what is left for the next call; `undefined`
 *   when something is no packet
 */
export function takePackets(
  received: string,
): { readonly packets: readonly string[]; readonly rest: string } | undefined {
  const packets: string[] = [];
  let rest = received.replace(/^[+-]+/, '');
  while (rest !== '') {
    if (rest[0] !== '$') return undefined;
    const end = rest.indexOf('#');
    if (end < 0 || end + 2 >= rest.length) {
      return rest.length > longestPacket ? undefined : { packets, rest };
    }
    const text = rest.slice(1, end);
    if (rest.slice(end + 1, end + 3) !== checksum(text)) return undefined;
    packets.push(plain(text));
    rest = rest.slice(end + 3).replace(/^[+-]+/, '');
  }
  return { packets, rest };
}

/** Undoes `}` (the next character, with a bit turned) and `*` (the last one again, as often as the next one says). */
function plain(text: string): string {
  let out = '';
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === escaping) out += String.fromCharCode(text.charCodeAt(++at) ^ 0x20);
    else if (code === repeating) out += (out.at(-1) ?? '').repeat(Math.max(0, text.charCodeAt(++at) - 29));
    else out += text[at];
  }
  return out;
}
