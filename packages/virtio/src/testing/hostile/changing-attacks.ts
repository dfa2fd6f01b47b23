import type { GuestMemory } from '../../memory/guest-memory.ts';
import { check } from '../check.ts';
import { whileMemoryChanges } from './changing-memory.ts';
import { type AnyRingAttack, type AttackField, needsIndirect } from './driver-attack.ts';

/** Values that are something else when they are read a second time. */
export const changingAttacks: readonly AnyRingAttack[] = [
  {
    name: 'descriptors that change between two reads',
    ring: 'any',
    expects: [],
    run({ driver, ring }) {
      ring.offer(driver.elements());
      kickWhileChanging(driver, ring, ring.areas.descriptor, 16 * ring.size);
    },
  },
  {
    name: 'an indirect table that changes between two reads',
    ring: 'any',
    expects: [],
    skip: needsIndirect,
    run({ driver, ring }) {
      const elements = driver.elements();
      const table = driver.allocate(16 * elements.length);
      ring.offerIndirect(table, elements);
      kickWhileChanging(driver, ring, table, 16 * elements.length);
    },
  },
  {
    name: 'a driver area that changes between two reads',
    ring: 'any',
    expects: [],
    run({ driver, ring }) {
      ring.offer(driver.elements());
      kickWhileChanging(driver, ring, ring.areas.driver, ring.areas.driver % 4 === 0 ? 4 : 2);
    },
  },
  {
    name: 'a request that changes between two reads',
    ring: 'any',
    expects: [],
    run({ driver, ring, target }) {
      const elements = driver.elements();
      const request = elements.find(({ writable }) => !writable);
      ring.offer(elements);
      const { length } = target.probe.readable;
      kickWhileChanging(driver, ring, request?.address ?? ring.areas.descriptor, request ? length : 16);
    },
  },
];

function kickWhileChanging(
  driver: AttackField['driver'],
  ring: AttackField['ring'],
  address: number,
  length: number,
): void {
  const guarded = guards(driver.transport.memory, driver);
  whileMemoryChanges(rangeOf(driver.transport.memory, address, length), () => driver.kick(ring));
  guarded();
}

/** Memory beside the buffers, which nothing that was validated once can reach. */
function guards(memory: GuestMemory, driver: AttackField['driver']): () => void {
  const canary = driver.allocate(256);
  const bytes = new Uint8Array(256).fill(0xc5);
  memory.write(canary, bytes);
  return () => {
    const intact = memory.read(canary, 256).every((byte) => byte === 0xc5);
    check(intact, 'memory beside the buffers is left alone');
  };
}

function rangeOf(
  memory: GuestMemory,
  address: number,
  length: number,
): { readonly buffer: ArrayBufferLike; readonly from: number; readonly to: number } {
  const region = memory.find(address, length);
  const { buffer, byteOffset } = region?.bytes ?? new Uint8Array();
  const from = byteOffset + address - (region?.start ?? 0);
  return { buffer, from, to: from + length };
}
