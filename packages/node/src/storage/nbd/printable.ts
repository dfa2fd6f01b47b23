import { longestString } from './protocol.ts';

/** What a server said to people, fit for a terminal. */
export function printable(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, longestString));
  return text.replace(/[\p{Cc}\p{Cf}]/gu, ' ').trim();
}
