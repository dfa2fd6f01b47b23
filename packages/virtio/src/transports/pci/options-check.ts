import { UsageError } from '../../errors.ts';
import type { PciFunctionOptions } from './options.ts';
import { maxMsixVectors } from './pci-registers.ts';

const bounds = {
  msixVectors: [0, maxMsixVectors],
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
  const { notifyMultiplier = 0, msixVectors = 0, revision, subsystemId, legacy, layout } = options;
  const power = Math.log2(notifyMultiplier);
  if (notifyMultiplier !== 0 && (!Number.isInteger(power) || power < 1 || power > 31)) {
    refuse(`notifyMultiplier ${notifyMultiplier} is neither 0 nor an even power of two`);
  }
  // The keys of `bounds` are names of options; Object.keys forgets that.
  for (const name of Object.keys(bounds) as (keyof typeof bounds)[]) {
    const [least, most] = bounds[name];
    within(name, options[name], least, most);
  }
  if (legacy?.ids !== undefined && (revision ?? subsystemId) !== undefined) {
    refuse("a legacy driver's device has the revision and subsystemId of its type");
  }
  if (msixVectors > 0 && options.msix === undefined) refuse('msixVectors need msix');
  if (layout?.msix?.kind === 'io') refuse('MSI-X needs a memory BAR');
}

/** @throws {UsageError} BAD_ARGUMENT, which says what cannot be. */
export function refuse(what: string): never {
  throw new UsageError('BAD_ARGUMENT', `PCI function: ${what}`);
}

/** Refuses a value that is given, and is no whole number between two bounds. */
export function within(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  refuse(`${name} ${value} is not between ${least} and ${most}`);
}
