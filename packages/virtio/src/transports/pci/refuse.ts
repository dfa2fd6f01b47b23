import { UsageError } from '../../errors.ts';

/** @throws {UsageError} BAD_ARGUMENT, which says what cannot be. */
export function refuse(what: string): never {
  throw new UsageError('BAD_ARGUMENT', `PCI function: ${what}`);
}

/** Refuses a value that is given, and is no whole number between two bounds. */
export function within(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  refuse(`${name} ${value} is not between ${least} and ${most}`);
}
