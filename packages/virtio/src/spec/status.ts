import * as status from './status-bit.ts';

/** Bits of the device status field (2.1, 3.4). */
export * as status from './status-bit.ts';

/** The names of the bits that are set, for traces and messages; bits without a name as `bit5`. */
export function statusNames(value: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 8; bit++) {
    if ((value & (1 << bit)) === 0) continue;
    const known = Object.entries(status).find(([, mask]) => mask === 1 << bit);
    names.push(known?.[0] ?? `bit${bit}`);
  }
  return names;
}
