const longest = 4096;

/** What a stranger said to people, fit for a terminal. */
export function printable(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, longest));
  return text.replace(/[\p{Cc}\p{Cf}]/gu, ' ').trim();
}
