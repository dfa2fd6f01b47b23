import { describe, expect, it } from 'vitest';
import { PeerError, type PeerErrorCode } from '../errors.ts';
import { createDeviceQueue } from './create.ts';
import { pvirtqDescFlags } from './packed/layout.ts';
import { dataStart, memoryEnd, memoryStart, RawPackedRing, RawSplitRing } from './raw-ring.fixture.ts';
import { VirtqDesc, virtqDescFlags } from './split/layout.ts';

const { NEXT, WRITE, INDIRECT } = virtqDescFlags;
const { AVAIL } = pvirtqDescFlags;

/** What a driver does wrong, and what the device calls it. */
interface Mistake<R> {
  readonly name: string;
  readonly code: PeerErrorCode;
  readonly indirect?: boolean;
  readonly inOrder?: boolean;
  /** Chains that are sound, and come before the mistake. */
  readonly sound?: number;
  commit(ring: R): void;
}

const table = 0x9000;

const splitMistakes: Mistake<RawSplitRing>[] = [
  {
    name: 'the available index jumps',
    code: 'AVAILABLE_INDEX_JUMP',
    commit: (ring) => ring.set16(ring.areas.driver + 2, 5),
  },
  {
    name: 'the available index goes back',
    code: 'AVAILABLE_INDEX_JUMP',
    commit: (ring) => ring.set16(ring.areas.driver + 2, 0xffff),
  },
  { name: 'a head out of range', code: 'DESCRIPTOR_OUT_OF_RANGE', commit: (ring) => ring.offer(4) },
  {
    name: 'a next out of range',
    code: 'DESCRIPTOR_OUT_OF_RANGE',
    commit: (ring) => {
      ring.descriptor(0, { flags: NEXT, next: 4 });
      ring.offer(0);
    },
  },
  {
    name: 'a loop',
    code: 'CHAIN_TOO_LONG',
    commit: (ring) => {
      ring.descriptor(0, { flags: NEXT, next: 1 });
      ring.descriptor(1, { flags: NEXT, next: 0 });
      ring.offer(0);
    },
  },
  {
    name: 'a descriptor that follows itself, without a byte',
    code: 'CHAIN_TOO_LONG',
    commit: (ring) => {
      ring.descriptor(2, { len: 0, flags: NEXT, next: 2 });
      ring.offer(2);
    },
  },
  {
    name: 'device-readable after device-writable',
    code: 'READABLE_AFTER_WRITABLE',
    commit: (ring) => {
      ring.descriptor(0, { flags: WRITE | NEXT, next: 1 });
      ring.descriptor(1, {});
      ring.offer(0);
    },
  },
  {
    name: 'device-readable after an empty device-writable',
    code: 'READABLE_AFTER_WRITABLE',
    commit: (ring) => {
      ring.descriptor(0, { len: 0, flags: WRITE | NEXT, next: 1 });
      ring.descriptor(1, {});
      ring.offer(0);
    },
  },
  {
    name: 'a head that is in flight',
    code: 'HEAD_IN_FLIGHT',
    sound: 1,
    commit: (ring) => {
      ring.descriptor(1, {});
      ring.offer(1, 1);
    },
  },
  {
    name: 'an indirect table that was not negotiated',
    code: 'INDIRECT_NOT_NEGOTIATED',
    commit: (ring) => {
      ring.descriptor(0, { addr: table, flags: INDIRECT });
      ring.offer(0);
    },
  },
  {
    name: 'a table within a table',
    code: 'INDIRECT_NESTED',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { addr: table, flags: INDIRECT });
      ring.descriptor(0, { addr: table, flags: INDIRECT }, table);
      ring.offer(0);
    },
  },
  {
    name: 'INDIRECT with NEXT',
    code: 'INDIRECT_WITH_NEXT',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { addr: table, flags: INDIRECT | NEXT, next: 1 });
      ring.offer(0);
    },
  },
  ...[0, 15, 17, 0x10_0010, 0xffff_fff0, 0xffff_ffff].map((len) => ({
    name: `a table of ${len} bytes`,
    code: 'INDIRECT_TABLE_SIZE' as const,
    indirect: true,
    commit: (ring: RawSplitRing) => {
      ring.descriptor(0, { addr: table, len, flags: INDIRECT });
      ring.offer(0);
    },
  })),
  {
    name: 'a table that leaves memory',
    code: 'ADDRESS_OUT_OF_BOUNDS',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { addr: memoryEnd - 16, len: 32, flags: INDIRECT });
      ring.offer(0);
    },
  },
  {
    name: 'a next behind the end of its table',
    code: 'DESCRIPTOR_OUT_OF_RANGE',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { addr: table, len: 32, flags: INDIRECT });
      ring.descriptor(0, { flags: NEXT, next: 2 }, table);
      ring.offer(0);
    },
  },
  {
    name: 'direct and indirect descriptors that are too many together',
    code: 'CHAIN_TOO_LONG',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { flags: NEXT, next: 1 });
      ring.descriptor(1, { addr: table, len: 64, flags: INDIRECT });
      for (let i = 0; i < 4; i++) ring.descriptor(i, { flags: i < 3 ? NEXT : 0, next: i + 1 }, table);
      ring.offer(0);
    },
  },
  {
    name: 'descriptors out of ring order, in order',
    code: 'DESCRIPTORS_OUT_OF_ORDER',
    inOrder: true,
    commit: (ring) => {
      ring.descriptor(0, { flags: NEXT, next: 2 });
      ring.offer(0);
    },
  },
  {
    name: 'table entries out of order, in order',
    code: 'DESCRIPTORS_OUT_OF_ORDER',
    inOrder: true,
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { addr: table, len: 48, flags: INDIRECT });
      ring.descriptor(0, { flags: NEXT, next: 2 }, table);
      ring.offer(0);
    },
  },
];

const packedMistakes: Mistake<RawPackedRing>[] = [
  {
    name: 'a buffer id out of range',
    code: 'BUFFER_ID_INVALID',
    commit: (ring) => ring.descriptor(0, { id: 4, flags: AVAIL }),
  },
  {
    name: 'a buffer id that is in flight',
    code: 'BUFFER_ID_INVALID',
    sound: 1,
    commit: (ring) => {
      ring.descriptor(0, { id: 2, flags: AVAIL });
      ring.descriptor(1, { id: 2, flags: AVAIL });
    },
  },
  {
    name: 'a list that is not all available',
    code: 'PACKED_CHAIN_INCOMPLETE',
    commit: (ring) => ring.descriptor(0, { flags: AVAIL | NEXT }),
  },
  {
    name: 'a list that goes round the ring',
    code: 'PACKED_CHAIN_TOO_LONG',
    commit: (ring) => {
      for (let i = 0; i < 4; i++) ring.descriptor(i, { flags: AVAIL | NEXT });
    },
  },
  {
    name: 'a list that goes on in descriptors that are in flight',
    code: 'PACKED_DESCRIPTOR_IN_FLIGHT',
    sound: 1,
    commit: (ring) => {
      ring.descriptor(0, { flags: AVAIL });
      for (let i = 1; i < 4; i++) ring.descriptor(i, { id: 1, flags: AVAIL | NEXT });
    },
  },
  {
    name: 'device-readable after device-writable',
    code: 'READABLE_AFTER_WRITABLE',
    commit: (ring) => {
      ring.descriptor(0, { flags: AVAIL | WRITE | NEXT });
      ring.descriptor(1, { flags: AVAIL });
    },
  },
  {
    name: 'an indirect table that was not negotiated',
    code: 'PACKED_INDIRECT_NOT_NEGOTIATED',
    commit: (ring) => ring.descriptor(0, { addr: table, flags: AVAIL | INDIRECT }),
  },
  {
    name: 'INDIRECT with NEXT',
    code: 'PACKED_INDIRECT_IN_CHAIN',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { addr: table, flags: AVAIL | INDIRECT | NEXT });
      ring.descriptor(1, { flags: AVAIL });
    },
  },
  {
    name: 'INDIRECT at the end of a list',
    code: 'PACKED_INDIRECT_IN_CHAIN',
    indirect: true,
    commit: (ring) => {
      ring.descriptor(0, { flags: AVAIL | NEXT });
      ring.descriptor(1, { addr: table, flags: AVAIL | INDIRECT });
    },
  },
  ...[0, 15, 17, 0xffff_ffff].map((len) => ({
    name: `a table of ${len} bytes`,
    code: 'PACKED_INDIRECT_TABLE_SIZE' as const,
    indirect: true,
    commit: (ring: RawPackedRing) => ring.descriptor(0, { addr: table, len, flags: AVAIL | INDIRECT }),
  })),
  ...[80, 0xffff_fff0].map((len) => ({
    name: `a table of ${len} bytes for a queue of 4`,
    code: 'PACKED_CHAIN_TOO_LONG' as const,
    indirect: true,
    commit: (ring: RawPackedRing) => ring.descriptor(0, { addr: table, len, flags: AVAIL | INDIRECT }),
  })),
  {
    name: 'a table that leaves memory',
    code: 'ADDRESS_OUT_OF_BOUNDS',
    indirect: true,
    commit: (ring) => ring.descriptor(0, { addr: memoryEnd - 16, len: 32, flags: AVAIL | INDIRECT }),
  },
];

function expectBroken<R extends RawSplitRing | RawPackedRing>(ring: R, mistake: Mistake<R>): void {
  const device = ring.openDevice();
  mistake.commit(ring);
  const sound = mistake.sound ?? 0;
  const taken = Array.from({ length: sound }, () => device.take()!);
  expect(taken.every((chain) => chain.live)).toBe(true);
  expect(device.take()).toBeUndefined();
  expect(device.error).toMatchObject({ name: 'PeerError', code: mistake.code });
  expect(device.inFlight).toBe(sound);

  const before = Buffer.from(ring.view.buffer.slice(0));
  for (const chain of taken) device.complete(chain);
  expect(device.take()).toBeUndefined();
  expect(device.hasAvailable()).toBe(false);
  expect(device.enableNotifications()).toBe(false);
  device.disableNotifications();
  expect(device.flush()).toBe(false);
  expect(before.equals(new Uint8Array(ring.view.buffer))).toBe(true);
}

describe('a split ring breaks, and nothing else does, by', () => {
  for (const mistake of splitMistakes) {
    it(mistake.name, () => {
      expectBroken(
        new RawSplitRing(4, { indirect: mistake.indirect ?? false, inOrder: mistake.inOrder ?? false }),
        mistake,
      );
    });
  }
});

describe('a packed ring breaks, and nothing else does, by', () => {
  for (const mistake of packedMistakes) {
    it(mistake.name, () => {
      expectBroken(
        new RawPackedRing(4, { indirect: mistake.indirect ?? false, inOrder: mistake.inOrder ?? false }),
        mistake,
      );
    });
  }
});

describe('an element at an edge of memory', () => {
  const high = 2 ** 32;
  const places: [address: number, length: number, isMemory: boolean][] = [
    [memoryStart, 1, true],
    [memoryStart - 1, 1, false],
    [memoryStart - 1, 2, false],
    [memoryEnd - 1, 1, true],
    [memoryEnd - 1, 2, false],
    [memoryEnd, 1, false],
    [0, 1, false],
    [memoryStart, 0xffff_ffff, false],
    [high, 1, false],
    [2 ** 53 - 1, 1, false],
    [2 ** 53, 0xffff_ffff, false],
    [0xffff_f000, 0xffff_ffff, false],
    [dataStart, 0, true],
    [2 ** 53 - 1, 0, true],
  ];

  it.each(places)('at %i of %i bytes: %s', (addr, len, isMemory) => {
    for (const flags of [0, WRITE]) {
      const split = new RawSplitRing(4);
      const splitDevice = split.openDevice();
      split.descriptor(0, { addr, len, flags });
      split.offer(0);
      const packed = new RawPackedRing(4);
      const packedDevice = packed.openDevice();
      packed.descriptor(0, { addr, len, flags: AVAIL | flags });
      for (const device of [splitDevice, packedDevice]) {
        const chain = device.take();
        expect(chain !== undefined).toBe(isMemory);
        expect(device.error?.code).toBe(isMemory ? undefined : 'ADDRESS_OUT_OF_BOUNDS');
        if (chain !== undefined) expect(chain.readable.length + chain.writable.length).toBe(len);
      }
    }
  });

  it('at the very end of 64 bits', () => {
    const split = new RawSplitRing(4);
    const device = split.openDevice();
    split.descriptor(0, { len: 16 });
    VirtqDesc.field.addr.set(split.view, split.areas.descriptor - memoryStart, 2n ** 64n - 8n);
    split.offer(0);
    expect(device.take()).toBeUndefined();
    expect(device.error?.code).toBe('ADDRESS_OUT_OF_BOUNDS');
  });
});

it('refuses a chain of more than 2^32 bytes', () => {
  const { areas, options, memory, view } = new RawSplitRing(4);
  // A translation that shows the same 64 KiB over and over makes such a chain possible.
  const endless = memory.translated((address) => {
    const offset = (address - memoryStart) % view.byteLength;
    return { address: memoryStart + offset, length: view.byteLength - offset };
  });
  for (const [secondLength, code] of [
    [1, undefined],
    [2, 'CHAIN_TOO_LARGE'],
  ] as const) {
    const ring = new RawSplitRing(4);
    new Uint8Array(view.buffer).fill(0);
    ring.descriptor(0, { addr: memoryStart, len: 0xffff_ffff, flags: NEXT, next: 1 });
    ring.descriptor(1, { addr: memoryStart, len: secondLength });
    ring.offer(0);
    new Uint8Array(view.buffer).set(new Uint8Array(ring.view.buffer));
    const device = createDeviceQueue(endless, areas, options);
    if (device instanceof PeerError) throw device;
    const chain = device.take();
    expect(device.error?.code).toBe(code);
    expect(chain?.readable.length).toBe(code === undefined ? 2 ** 32 : undefined);
  }
});
