import type { GuestMemory } from '../../memory/guest-memory.ts';
import { addressAttacks } from './address-attacks.ts';
import { changingAttacks } from './changing-attacks.ts';
import { controlAttacks, resetAttacks } from './control-attacks.ts';
import type { DriverAttack } from './driver-attack.ts';
import { garbageAttacks } from './garbage-attacks.ts';
import { packedAttacks } from './packed-attacks.ts';
import { splitAttacks } from './split-attacks.ts';

/** Everything that a hostile driver does; some of it depends on where memory is. */
export function driverAttacks(memory: GuestMemory): DriverAttack[] {
  return [
    ...splitAttacks,
    ...packedAttacks,
    ...addressAttacks(memory),
    ...controlAttacks.map((attack) => ({ ...attack, onSetUp: attack.expects.length > 0 })),
    ...resetAttacks,
    ...garbageAttacks,
    ...changingAttacks,
  ];
}
