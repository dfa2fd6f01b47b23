import type { AnyRingAttack } from './driver-attack.ts';

const laps = 40;

/** Rings full of noise: the same noise each time. */
export const garbageAttacks: readonly AnyRingAttack[] = [1, 2, 3, 4].map((seed) => ({
  name: `rings full of noise (${seed})`,
  ring: 'any',
  expects: [],
  run({ driver, ring }) {
    const { memory } = driver.transport;
    const next = noise(seed);
    for (let lap = 0; lap < laps; lap++) {
      const descriptors = Uint8Array.from({ length: 16 * ring.size }, next);
      // Addresses that mostly lie in memory reach further than those that never do.
      for (let i = 0; i < ring.size; i++) descriptors.fill(0, 16 * i + (lap % 3 === 0 ? 8 : 2), 16 * i + 8);
      memory.write(ring.areas.descriptor, descriptors);
      memory.write(ring.areas.driver, Uint8Array.from({ length: 4 + 2 * (lap % 2) }, next));
      driver.kick(ring);
    }
  },
}));

/** Bytes of a small generator (mulberry32), so that a failure can be had again. */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) & 0xff;
  };
}
