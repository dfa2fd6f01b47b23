import type { PciFunctionOptions } from './options.ts';
import { refuse, within } from './refuse.ts';

const bounds = {
  revision: [1, 0xff],
  subsystemVendorId: [0, 0xffff],
  subsystemId: [0x40, 0xffff],
  interruptPin: [0, 4],
} as const;

/**
 * Refuses options that would make a function the specification does not allow.
 *
 * @throws {UsageError} BAD_ARGUMENT
 */
export function checkOptions(options: PciFunctionOptions): void {
  const { notifyMultiplier = 0, msixVectors = 0, msix } = options;
  const power = Math.log2(notifyMultiplier);
  if (notifyMultiplier !== 0 && (!Number.isInteger(power) || power < 1 || power > 31)) {
    refuse(`notifyMultiplier ${notifyMultiplier} is neither 0 nor an even power of two`);
  }
  // The keys of `bounds` are names of options; Object.keys forgets that.
  for (const name of Object.keys(bounds) as (keyof typeof bounds)[]) {
    const [least, most] = bounds[name];
    within(name, options[name], least, most);
  }
  if (msixVectors > 0 && msix === undefined) refuse('msixVectors need msix');
}
