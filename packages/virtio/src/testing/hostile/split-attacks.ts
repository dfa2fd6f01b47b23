import { INDIRECT, NEXT, WRITE } from '../raw/ring.ts';
import { needsIndirect, needsNoIndirect, type SplitAttack } from './driver-attack.ts';

/** What a driver can do to a split ring. */
export const splitAttacks: readonly SplitAttack[] = [
  {
    name: 'a descriptor that links to itself',
    ring: 'split',
    expects: ['CHAIN_TOO_LONG', 'DESCRIPTORS_OUT_OF_ORDER'],
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer, length: 1, flags: NEXT, next: 0 });
      ring.publish(0);
    },
  },
  {
    name: 'a loop over the whole table',
    ring: 'split',
    expects: ['CHAIN_TOO_LONG'],
    run({ ring, buffer }) {
      for (let i = 0; i < ring.size; i++) {
        ring.describe(i, { address: buffer, length: 1, flags: NEXT, next: (i + 1) % ring.size });
      }
      ring.publish(0);
    },
  },
  {
    name: 'a head behind the end of the table',
    ring: 'split',
    expects: ['DESCRIPTOR_OUT_OF_RANGE'],
    run: ({ ring }) => ring.publish(ring.size),
  },
  {
    name: 'the largest head there is',
    ring: 'split',
    expects: ['DESCRIPTOR_OUT_OF_RANGE'],
    run: ({ ring }) => ring.publish(0xffff),
  },
  {
    name: 'a next behind the end of the table',
    ring: 'split',
    expects: ['DESCRIPTOR_OUT_OF_RANGE', 'DESCRIPTORS_OUT_OF_ORDER'],
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer, length: 1, flags: NEXT, next: ring.size });
      ring.publish(0);
    },
  },
  {
    name: 'an available index that jumps by one more than the queue holds',
    ring: 'split',
    expects: ['AVAILABLE_INDEX_JUMP'],
    run: ({ ring }) => ring.setAvailableIndex(ring.availableIndex + ring.size + 1),
  },
  {
    name: 'an available index that goes back',
    ring: 'split',
    expects: ['AVAILABLE_INDEX_JUMP'],
    run: ({ ring }) => ring.setAvailableIndex(ring.availableIndex - 1),
  },
  {
    name: 'an available index half a lap away',
    ring: 'split',
    expects: ['AVAILABLE_INDEX_JUMP'],
    run: ({ ring }) => ring.setAvailableIndex(ring.availableIndex + 0x8000),
  },
  {
    name: 'a device-readable element behind a device-writable one',
    ring: 'split',
    expects: ['READABLE_AFTER_WRITABLE'],
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer, length: 8, flags: WRITE | NEXT, next: 1 });
      ring.describe(1, { address: buffer, length: 8 });
      ring.publish(0);
    },
  },
  {
    name: 'INDIRECT and NEXT in one descriptor',
    ring: 'split',
    expects: ['INDIRECT_WITH_NEXT'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 8 }, buffer);
      ring.describe(0, { address: buffer, length: 16, flags: INDIRECT | NEXT, next: 1 });
      ring.describe(1, { address: buffer + 64, length: 8 });
      ring.publish(0);
    },
  },
  {
    name: 'a table within a table',
    ring: 'split',
    expects: ['INDIRECT_NESTED'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer, length: 16, flags: INDIRECT }, buffer);
      ring.describe(0, { address: buffer, length: 16, flags: INDIRECT });
      ring.publish(0);
    },
  },
  {
    name: 'a loop within a table',
    ring: 'split',
    expects: ['CHAIN_TOO_LONG', 'DESCRIPTORS_OUT_OF_ORDER'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 1, flags: NEXT, next: 1 }, buffer);
      ring.describe(1, { address: buffer + 64, length: 1, flags: NEXT, next: 0 }, buffer);
      ring.describe(0, { address: buffer, length: 32, flags: INDIRECT });
      ring.publish(0);
    },
  },
  {
    name: 'a next behind the end of an indirect table',
    ring: 'split',
    expects: ['DESCRIPTOR_OUT_OF_RANGE'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 1, flags: NEXT, next: 1 }, buffer);
      ring.describe(0, { address: buffer, length: 16, flags: INDIRECT });
      ring.publish(0);
    },
  },
  {
    name: 'a chain through a table that is longer than the queue',
    ring: 'split',
    expects: ['CHAIN_TOO_LONG'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      const count = ring.size + 1;
      for (let i = 0; i < count; i++) {
        ring.describe(
          i,
          { address: buffer + 2048, length: 1, flags: i + 1 < count ? NEXT : 0, next: i + 1 },
          buffer,
        );
      }
      ring.describe(0, { address: buffer, length: 16 * count, flags: INDIRECT });
      ring.publish(0);
    },
  },
  ...[0, 15, 17, 0xffff_fff0].map(
    (length): SplitAttack => ({
      name: `an indirect table of ${length} bytes`,
      ring: 'split',
      expects: ['INDIRECT_TABLE_SIZE', 'CHAIN_TOO_LONG', 'ADDRESS_OUT_OF_BOUNDS'],
      skip: needsIndirect,
      run({ ring, buffer }) {
        ring.describe(0, { address: buffer, length, flags: INDIRECT });
        ring.publish(0);
      },
    }),
  ),
  {
    name: 'an indirect table that was not negotiated',
    ring: 'split',
    expects: ['INDIRECT_NOT_NEGOTIATED'],
    skip: needsNoIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 8 }, buffer);
      ring.describe(0, { address: buffer, length: 16, flags: INDIRECT });
      ring.publish(0);
    },
  },
  {
    name: 'more than 2^32 bytes in one chain',
    ring: 'split',
    expects: ['CHAIN_TOO_LARGE', 'ADDRESS_OUT_OF_BOUNDS'],
    run({ ring, buffer }) {
      for (let i = 0; i < 3; i++) {
        ring.describe(i, { address: buffer, length: 0xffff_ffff, flags: i < 2 ? NEXT : 0, next: i + 1 });
      }
      ring.publish(0);
    },
  },
  {
    name: 'one head twice',
    ring: 'split',
    // A device that has used the first before it looks at the second cannot tell.
    expects: [],
    run({ driver, ring }) {
      ring.publish(ring.offer(driver.elements()));
    },
  },
];
