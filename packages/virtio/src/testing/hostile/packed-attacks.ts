import { AVAIL, USED } from '../raw/packed-ring.ts';
import { INDIRECT, NEXT, WRITE } from '../raw/ring.ts';
import { needsIndirect, needsNoIndirect, type PackedAttack } from './driver-attack.ts';

/** What a driver can do to a packed ring. */
export const packedAttacks: readonly PackedAttack[] = [
  {
    name: 'a list that never ends',
    ring: 'packed',
    expects: ['PACKED_CHAIN_TOO_LONG', 'PACKED_CHAIN_INCOMPLETE'],
    run({ ring, buffer }) {
      for (let i = 0; i < ring.size; i++) ring.push({ address: buffer, length: 1, flags: NEXT, id: 0 });
    },
  },
  {
    name: 'a list whose first descriptor is available before the rest',
    ring: 'packed',
    expects: ['PACKED_CHAIN_INCOMPLETE'],
    run: ({ ring, buffer }) => ring.push({ address: buffer, length: 1, flags: NEXT, id: 0 }),
  },
  {
    name: 'a Buffer ID behind the end of the ring',
    ring: 'packed',
    expects: ['BUFFER_ID_INVALID'],
    run({ ring, buffer, target }) {
      const flags = target.probe.writable > 0 ? WRITE : 0;
      ring.push({ address: buffer, length: 8, flags, id: ring.size });
    },
  },
  {
    name: 'the largest Buffer ID there is',
    ring: 'packed',
    expects: ['BUFFER_ID_INVALID'],
    run: ({ ring, buffer }) => ring.push({ address: buffer, length: 8, id: 0xffff }),
  },
  {
    name: 'one Buffer ID twice',
    ring: 'packed',
    // A device that has used the first before it looks at the second cannot tell.
    expects: [],
    run({ driver, ring }) {
      const id = ring.offer(driver.elements());
      for (const { address, length, writable } of driver.elements()) {
        ring.push({ address, length, id, flags: writable ? WRITE : 0 });
      }
    },
  },
  {
    name: 'a device-readable element behind a device-writable one',
    ring: 'packed',
    expects: ['READABLE_AFTER_WRITABLE'],
    run({ ring, buffer }) {
      const at = { offset: ring.offset, bits: ring.availableBits };
      ring.describe(at.offset, { address: buffer, length: 8, flags: 0, id: 0 });
      ring.push({ address: buffer, length: 8, flags: WRITE | NEXT, id: 0 });
      ring.push({ address: buffer, length: 8, id: 0 });
    },
  },
  {
    name: 'INDIRECT and NEXT in one descriptor',
    ring: 'packed',
    expects: ['PACKED_INDIRECT_IN_CHAIN'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 8 }, buffer);
      ring.push({ address: buffer, length: 16, flags: INDIRECT | NEXT, id: 0 });
      ring.push({ address: buffer + 64, length: 8, id: 0 });
    },
  },
  {
    name: 'an indirect descriptor at the end of a list',
    ring: 'packed',
    expects: ['PACKED_INDIRECT_IN_CHAIN', 'PACKED_INDIRECT_NOT_NEGOTIATED'],
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 8 }, buffer);
      ring.push({ address: buffer + 64, length: 8, flags: NEXT, id: 0 });
      ring.push({ address: buffer, length: 16, flags: INDIRECT, id: 0 });
    },
  },
  {
    name: 'a table within a table',
    ring: 'packed',
    // In a table only WRITE means anything: the rest is an element like any other.
    expects: [],
    skip: needsIndirect,
    run({ ring, buffer, target }) {
      const flags = INDIRECT | NEXT | (target.probe.writable > 0 ? WRITE : 0);
      ring.describe(0, { address: buffer, length: 16, flags }, buffer);
      ring.push({ address: buffer, length: 16, flags: INDIRECT, id: 0 });
    },
  },
  ...[0, 15, 17, 0xffff_fff0].map(
    (length): PackedAttack => ({
      name: `an indirect table of ${length} bytes`,
      ring: 'packed',
      expects: ['PACKED_INDIRECT_TABLE_SIZE', 'PACKED_CHAIN_TOO_LONG', 'ADDRESS_OUT_OF_BOUNDS'],
      skip: needsIndirect,
      run: ({ ring, buffer }) => ring.push({ address: buffer, length, flags: INDIRECT, id: 0 }),
    }),
  ),
  {
    name: 'a table that is longer than the queue',
    ring: 'packed',
    expects: ['PACKED_CHAIN_TOO_LONG'],
    skip: needsIndirect,
    run({ ring, buffer }) {
      const count = ring.size + 1;
      for (let i = 0; i < count; i++) ring.describe(i, { address: buffer + 2048, length: 1 }, buffer);
      ring.push({ address: buffer, length: 16 * count, flags: INDIRECT, id: 0 });
    },
  },
  {
    name: 'an indirect table that was not negotiated',
    ring: 'packed',
    expects: ['PACKED_INDIRECT_NOT_NEGOTIATED'],
    skip: needsNoIndirect,
    run({ ring, buffer }) {
      ring.describe(0, { address: buffer + 64, length: 8 }, buffer);
      ring.push({ address: buffer, length: 16, flags: INDIRECT, id: 0 });
    },
  },
  {
    name: 'more than 2^32 bytes in one list',
    ring: 'packed',
    expects: ['CHAIN_TOO_LARGE', 'ADDRESS_OUT_OF_BOUNDS'],
    run({ ring, buffer }) {
      for (let i = 0; i < 3; i++) {
        ring.push({ address: buffer, length: 0xffff_ffff, flags: i < 2 ? NEXT : 0, id: 0 });
      }
    },
  },
  {
    name: 'descriptors marked as used by the driver itself',
    ring: 'packed',
    // They are not available, and nothing more.
    expects: [],
    run({ ring, buffer }) {
      for (let i = 0; i < ring.size; i++) {
        ring.describe(i, { address: buffer, length: 8, flags: AVAIL | USED });
      }
    },
  },
  {
    name: 'event suppression that means nothing',
    ring: 'packed',
    expects: [],
    run({ driver, ring }) {
      ring.bytes.set16(ring.areas.driver, 0xffff);
      ring.bytes.set16(ring.areas.driver + 2, 0xffff);
      ring.offer(driver.elements());
      ring.bytes.set16(ring.areas.driver + 2, 3);
    },
  },
];
