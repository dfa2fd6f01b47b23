import { UsageError } from '../../errors.ts';
import type { PciFunctionOptions } from './options.ts';
import { maxMsixVectors } from './pci-registers.ts';

const isPowerOfTwo = (value: number): boolean =>
  Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));

/**
 * Refuses options that would make a function the specification does not allow.
 *
 * @throws {UsageError} BAD_ARGUMENT
 */
export function checkOptions(options: PciFunctionOptions): void {
  const multiplier = options.notifyMultiplier ?? 0;
  if (multiplier !== 0 && (!isPowerOfTwo(multiplier) || multiplier < 2 || multiplier > 2 ** 31)) {
    refuse(`the notify multiplier ${multiplier} is neither 0 nor an even power of two`);
  }
  within('the number of MSI-X vectors', options.msixVectors, 0, maxMsixVectors);
  within('the revision', options.revision, 1, 0xff);
  within('the subsystem vendor id', options.subsystemVendorId, 0, 0xffff);
  within('the subsystem id', options.subsystemId, 0x40, 0xffff);
  if (options.legacy?.ids !== undefined && (options.revision ?? options.subsystemId) !== undefined) {
    refuse('the revision and the subsystem id of a device for legacy drivers are set by its type');
  }
  within('the interrupt pin', options.interruptPin, 0, 4);
  if ((options.msixVectors ?? 0) > 0 && options.msix === undefined) {
    refuse('MSI-X vectors need msix, by which the host sends their messages');
  }
  if (options.layout?.msix?.kind === 'io') refuse('the MSI-X table stands in memory, not behind an I/O BAR');
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
