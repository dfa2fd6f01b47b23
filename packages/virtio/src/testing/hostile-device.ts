import type { Transport } from '../driver/transport.ts';
import { VirtioError } from '../errors.ts';
import { check, same } from './check.ts';
import type { DeviceAttack } from './hostile/device-attack.ts';
import type { Configuration } from './matrix.ts';

export type { DeviceAttack } from './hostile/device-attack.ts';
export { deviceAttacks, registerAttacks, ringAttacks } from './hostile/device-attacks.ts';

/** A driver under attack. */
export interface DriverAtWork {
  readonly configuration: Configuration;
  /** A sound device that nobody drives yet. */
  connect(): Promise<Transport>;
  /** Lets the driver do all that it can do; rejects with what went wrong. */
  exercise(transport: Transport): Promise<void>;
}

/** How many turns of the bus a driver has to end its work, well or badly. */
const patience = 20_000;

/**
 * Lets a driver loose on a device that is spoilt in one way, and holds it to what must follow: it does not hang,
 * it names what the device did, and afterwards it works with a sound device.
 */
export async function withstand(attack: DeviceAttack, driver: DriverAtWork): Promise<void> {
  const sound = await driver.connect();
  const outcome = await outcomeOf(driver.exercise(attack.spoil(sound, driver.configuration)), sound);
  check(outcome !== 'waits', 'the driver does not wait for ever');
  if (!attack.expects.includes('survives')) {
    const names: readonly string[] = attack.expects;
    check(names.includes(outcome), `the driver says ${names.join(' or ')}; it says ${outcome}`);
  }
  // A driver that did its work has let go of the device; whoever failed finds it where it stood.
  if (outcome === 'works') return;
  same(
    await outcomeOf(driver.exercise(sound), sound),
    'works',
    'what the driver does with a sound device then',
  );
}

async function outcomeOf(work: Promise<void>, transport: Transport): Promise<string> {
  let outcome = 'waits';
  void work.then(
    () => {
      outcome = 'works';
    },
    (error: unknown) => {
      outcome = error instanceof VirtioError ? error.code : String(error);
    },
  );
  // A legacy device has no generation, and one that nobody has to ask is no clock.
  const tick = (): Promise<number> =>
    transport.legacy === undefined ? transport.configGeneration() : transport.queueMaxSize(0);
  for (let i = 0; i < patience && outcome === 'waits'; i++) await tick();
  return outcome;
}
