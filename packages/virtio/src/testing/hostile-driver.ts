import type { VirtioError } from '../errors.ts';
import { PeerError } from '../errors.ts';
import { status } from '../spec/status.ts';
import { check, until } from './check.ts';
import type { DriverAttack } from './hostile/driver-attack.ts';
import type { Configuration } from './matrix.ts';
import { RawDriver, type RawTarget } from './raw/driver.ts';
import { RawPackedRing } from './raw/packed-ring.ts';
import { RawSplitRing } from './raw/split-ring.ts';

export { type Change, whileMemoryChanges } from './hostile/changing-memory.ts';
export type { DriverAttack } from './hostile/driver-attack.ts';
export { driverAttacks } from './hostile/driver-attacks.ts';

/** A device that is attacked, and what it has said of its drivers so far; absent where it cannot tell. */
export interface AttackTarget extends RawTarget {
  readonly errors?: readonly VirtioError[];
}

/** Why an attack cannot be made in a configuration; `undefined` when it can. */
export function attackSkip(attack: DriverAttack, configuration: Configuration): string | undefined {
  if (attack.ring !== 'any' && (attack.ring === 'packed') !== configuration.packed) {
    return `the attack is on ${attack.ring} rings`;
  }
  return attack.skip?.(configuration);
}

/**
 * Makes one attack, and holds the device to what must follow: the mistake is named with its clause, the device
 * is broken and lives, and a reset brings it back to serve a well-behaved driver.
 */
export async function launch(attack: DriverAttack, target: AttackTarget): Promise<void> {
  const before = target.errors?.length ?? 0;
  const { driver, ring } = await RawDriver.start(target, { size: 8 });
  const buffer = driver.allocate(4096);
  try {
    if (attack.ring === 'any') await attack.run({ target, driver, ring, buffer });
    else if (attack.ring === 'split' && ring instanceof RawSplitRing) {
      await attack.run({ target, driver, ring, buffer });
    } else if (attack.ring === 'packed' && ring instanceof RawPackedRing) {
      await attack.run({ target, driver, ring, buffer });
    }
  } catch (error) {
    // Some buses carry commands, and a device may reject one where it may live on.
    const mayReject =
      attack.harmless === true || attack.mayLive === true || target.configuration.legacy === true;
    if (!(mayReject && error instanceof PeerError && error.code === 'COMMAND_FAILED')) throw error;
  }
  // A control attack may have left the device reset, where a kick is one mistake more and no harm.
  if (attack.harmless !== true) driver.kick(ring);
  await driver.quiet();
  if (attack.expects.length > 0) {
    if (target.errors !== undefined) checkNamed(attack, target.errors.slice(before));
    if (attack.harmless !== true && attack.mayLive !== true) await checkBroken(target);
  }
  await driver.finish();
  const again = await RawDriver.start(target, { size: 8 });
  await again.driver.roundTrip(again.ring);
  await again.driver.finish();
}

function checkNamed(attack: DriverAttack, errors: readonly VirtioError[]): void {
  const named = errors.some((error) => error instanceof PeerError && attack.expects.includes(error.code));
  const heard = errors.map(({ code }) => code).join(', ');
  check(named, `the device names ${attack.expects.join(' or ')}; it says ${heard || 'nothing'}`);
}

async function checkBroken({ transport }: RawTarget): Promise<void> {
  // Then the names that the device gives are all there is to see.
  if (transport.statusIsWriteOnly === true) return;
  const isBroken = async (): Promise<boolean> => {
    return ((await transport.readStatus()) & status.DEVICE_NEEDS_RESET) !== 0;
  };
  await until(transport, isBroken, 'the device says that it needs a reset');
}
