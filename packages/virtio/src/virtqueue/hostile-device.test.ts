import { describe, expect, it } from 'vitest';
import type { PeerErrorCode } from '../errors.ts';
import { createDriverQueue } from './create.ts';
import { pvirtqDescFlags } from './packed/layout.ts';
import { dataStart, RawPackedRing, RawSplitRing } from './raw-ring.fixture.ts';

const { AVAIL, USED, WRITE } = pvirtqDescFlags;
const usedFlags = AVAIL | USED;

/** What a device does wrong with two buffers in flight of 4 and 8 writable bytes, and one not yet published. */
interface Mistake<R> {
  readonly name: string;
  readonly code: PeerErrorCode;
  readonly inOrder?: boolean;
  /** Buffers that come back before the mistake is seen. */
  readonly sound?: number;
  commit(ring: R): void;
}

const splitMistakes: Mistake<RawSplitRing>[] = [
  {
    name: 'the used index jumps',
    code: 'USED_INDEX_JUMP',
    commit: (ring) => ring.set16(ring.areas.device + 2, 3),
  },
  {
    name: 'the used index goes back',
    code: 'USED_INDEX_JUMP',
    commit: (ring) => ring.set16(ring.areas.device + 2, 0xffff),
  },
  { name: 'an id out of range', code: 'USED_ID_INVALID', commit: (ring) => ring.use({ id: 8 }) },
  { name: 'an id of 32 bits', code: 'USED_ID_INVALID', commit: (ring) => ring.use({ id: 0xffff_ffff }) },
  { name: 'an id that was never offered', code: 'USED_ID_INVALID', commit: (ring) => ring.use({ id: 5 }) },
  { name: 'an id that is not published', code: 'USED_ID_INVALID', commit: (ring) => ring.use({ id: 2 }) },
  {
    name: 'an id twice',
    code: 'USED_ID_INVALID',
    sound: 1,
    commit: (ring) => ring.use({ id: 1 }, { id: 1 }),
  },
  { name: 'a length too long', code: 'USED_LENGTH_INVALID', commit: (ring) => ring.use({ id: 0, len: 5 }) },
  {
    name: 'a length of 32 bits',
    code: 'USED_LENGTH_INVALID',
    commit: (ring) => ring.use({ id: 1, len: 0xffff_ffff }),
  },
  {
    name: 'a buffer before its turn',
    code: 'USED_OUT_OF_ORDER',
    inOrder: true,
    commit: (ring) => ring.use({ id: 1 }),
  },
  {
    name: 'an id that came back with its batch',
    code: 'USED_ID_INVALID',
    inOrder: true,
    sound: 1,
    commit: (ring) => ring.use({ id: 0 }, { id: 0 }),
  },
];

const packedMistakes: Mistake<RawPackedRing>[] = [
  {
    name: 'an id out of range',
    code: 'PACKED_USED_ID_INVALID',
    commit: (ring) => ring.descriptor(0, { id: 8, flags: usedFlags }),
  },
  {
    name: 'an id that was never offered',
    code: 'PACKED_USED_ID_INVALID',
    commit: (ring) => ring.descriptor(0, { id: 5, flags: usedFlags }),
  },
  {
    name: 'an id that is not published',
    code: 'PACKED_USED_ID_INVALID',
    commit: (ring) => ring.descriptor(0, { id: 2, flags: usedFlags }),
  },
  {
    name: 'an id twice',
    code: 'PACKED_USED_ID_INVALID',
    sound: 1,
    commit: (ring) => {
      ring.descriptor(0, { id: 1, len: 0, flags: usedFlags });
      ring.descriptor(1, { id: 1, len: 0, flags: usedFlags });
    },
  },
  {
    name: 'a length too long',
    code: 'USED_LENGTH_INVALID',
    commit: (ring) => ring.descriptor(0, { id: 0, len: 5, flags: usedFlags | WRITE }),
  },
];

function expectBroken<R extends RawSplitRing | RawPackedRing>(ring: R, mistake: Mistake<R>): void {
  const driver = createDriverQueue<number>(ring.memory, ring.areas, ring.options);
  driver.submit([], [{ address: dataStart, length: 4 }], 10);
  driver.submit([], [{ address: dataStart, length: 8 }], 11);
  driver.publish();
  driver.submit([], [{ address: dataStart, length: 8 }], 12);
  mistake.commit(ring);
  for (let i = 0; i < (mistake.sound ?? 0); i++) expect(driver.poll()).toBeDefined();
  expect(driver.poll()).toBeUndefined();
  expect(driver.error).toMatchObject({ name: 'PeerError', code: mistake.code });
  expect(driver.poll()).toBeUndefined();
  expect(driver.submit([], [{ address: dataStart, length: 8 }], 13)).toBe(false);
  expect(driver.publish()).toBe(false);
  expect(driver.enableNotifications()).toBe(false);
}

describe("a driver's split ring breaks by", () => {
  for (const mistake of splitMistakes) {
    it(mistake.name, () => {
      expectBroken(new RawSplitRing(8, { inOrder: mistake.inOrder ?? false }), mistake);
    });
  }
});

describe("a driver's packed ring breaks by", () => {
  for (const mistake of packedMistakes) {
    it(mistake.name, () => {
      expectBroken(new RawPackedRing(8, { inOrder: mistake.inOrder ?? false }), mistake);
    });
  }
});

it('takes a packed buffer without the WRITE flag for not written, whatever its length says', () => {
  const ring = new RawPackedRing(8);
  const driver = createDriverQueue<number>(ring.memory, ring.areas, ring.options);
  driver.submit([{ address: dataStart, length: 4 }], [], 1);
  driver.publish();
  ring.descriptor(0, { id: 0, len: 1000, flags: usedFlags });
  expect(driver.poll()).toEqual({ token: 1, written: 0 });
});

it('takes the length of a packed buffer without the WRITE flag where the device is known never to set it', () => {
  const ring = new RawPackedRing(8);
  const options = { ...ring.options, usedLengthWithoutWrite: true };
  const driver = createDriverQueue<number>(ring.memory, ring.areas, options);
  driver.submit([], [{ address: dataStart, length: 4 }], 1);
  driver.submit([], [{ address: dataStart, length: 4 }], 2);
  driver.publish();
  ring.descriptor(0, { id: 0, len: 3, flags: usedFlags });
  expect(driver.poll()).toEqual({ token: 1, written: 3 });
  ring.descriptor(1, { id: 1, len: 5, flags: usedFlags });
  expect(driver.poll()).toBeUndefined();
  expect(driver.error?.code).toBe('USED_LENGTH_INVALID');
});

// @holds 2.7.8.3 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring
it('tells how much was written, and no more', () => {
  const ring = new RawSplitRing(8);
  const driver = createDriverQueue<number>(ring.memory, ring.areas, ring.options);
  driver.submit([], [{ address: dataStart, length: 400 }], 1);
  driver.publish();
  ring.use({ id: 0, len: 3 });
  expect(driver.poll()).toEqual({ token: 1, written: 3 });
});

// @holds 2.8.16 driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table
it('waits for the used flag, and then for the turn of the descriptor behind', () => {
  const ring = new RawPackedRing(2);
  const driver = createDriverQueue<number>(ring.memory, ring.areas, ring.options);
  for (const token of [1, 2]) driver.submit([{ address: dataStart, length: 4 }], [], token);
  expect(driver.submit([{ address: dataStart, length: 4 }], [], 3)).toBe(false);
  driver.publish();
  ring.descriptor(1, { id: 1, flags: usedFlags });
  expect(driver.poll()).toBeUndefined();
  ring.descriptor(0, { id: 1, flags: usedFlags });
  expect(driver.poll()).toEqual({ token: 2, written: 0 });
  ring.descriptor(1, { id: 0, flags: usedFlags });
  expect(driver.poll()).toEqual({ token: 1, written: 0 });
  expect(driver.free).toBe(2);
});
