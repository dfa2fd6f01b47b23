import type { Transport } from '../driver/transport.ts';

/** What a case found out of order. */
export class NotConformant extends Error {
  override readonly name = 'NotConformant';
}

/** A case that finds out on its way that it does not apply. */
export class NotApplicable extends Error {
  override readonly name = 'NotApplicable';
}

/** Says what must be, and fails the case when it is not. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new NotConformant(`this does not hold: ${what}`);
}

/** Fails the case unless both are the same as JSON. */
export function same(actual: unknown, expected: unknown, what: string): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (found !== wanted) throw new NotConformant(`${what}: ${found}, not ${wanted}`);
}

/** Gives the rest of a case up, with the reason that the report shows. */
export function notApplicable(reason: string): never {
  throw new NotApplicable(reason);
}

/** How often a condition is looked at: each look is a turn of the bus. */
const tries = 5000;

/** Waits for a condition by talking to the device: that is the only clock which every bus has. */
export async function until(
  transport: Transport,
  condition: () => Promise<boolean>,
  what: string,
): Promise<void> {
  for (let i = 0; i < tries; i++) {
    if (await condition()) return;
    await transport.readStatus();
  }
  throw new NotConformant(`this never happens: ${what}`);
}
