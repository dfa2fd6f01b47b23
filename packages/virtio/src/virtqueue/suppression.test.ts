import { describe, expect, it } from 'vitest';
import { needEvent } from './need-event.ts';
import { needPackedEvent } from './packed/event.ts';
import { Position } from './packed/position.ts';
import { makePair, type Pair } from './ring.fixture.ts';

const element = [{ address: 0x3_0000, length: 4 }];

function offer(pair: Pair, count = 1): boolean {
  for (let i = 0; i < count; i++) expect(pair.driver.submit(element, [], i)).toBe(true);
  return pair.driver.publish();
}

function use(pair: Pair, count = 1): boolean {
  for (let i = 0; i < count; i++) pair.device.complete(pair.device.take()!);
  return pair.device.flush();
}

const drain = (pair: Pair) => {
  while (pair.driver.poll() !== undefined);
};

it('compares event indexes as distances, over the wrap at 65536', () => {
  for (const start of [0, 1, 0x7fff, 0xfffe, 0xffff]) {
    for (let moved = 0; moved < 5; moved++) {
      for (let event = -3; event < 8; event++) {
        const wanted = event >= 0 && event < moved;
        expect(needEvent((start + event) & 0xffff, (start + moved) & 0xffff, start)).toBe(wanted);
      }
    }
  }
});

it('finds a packed event by counting, for every position, batch and event', () => {
  const size = 5;
  for (let start = 0; start < 2 * size; start++) {
    for (let count = 1; count <= size; count++) {
      const written = new Set(Array.from({ length: count }, (_, i) => (start + i) % (2 * size)));
      const end = (start + count) % (2 * size);
      const position = new Position(size, end % size, end < size ? 1 : 0);
      for (let event = 0; event < 2 * size; event++) {
        // An event more than a lap ahead of the position reads as one that has passed long ago.
        const suppression = (event % size) | ((event < size ? 1 : 0) << 15) | (2 << 16);
        expect(needPackedEvent(suppression, position, count, size, true)).toBe(written.has(event));
      }
    }
  }
});

describe.each([
  { packed: false, ring: 'split' },
  { packed: true, ring: 'packed' },
])('$ring ring with flags', ({ packed }) => {
  // @holds 2.7.10.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
  // @holds 2.7.10.2 device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
  it('notifies the device unless it asked not to', () => {
    const pair = makePair(8, { packed });
    expect(offer(pair)).toBe(true);
    pair.device.disableNotifications();
    expect(offer(pair)).toBe(false);
    expect(pair.device.enableNotifications()).toBe(true);
    use(pair, 2);
    expect(pair.device.enableNotifications()).toBe(false);
    expect(offer(pair)).toBe(true);
    expect(pair.driver.publish()).toBe(false);
  });

  // @holds 2.7.7.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression
  // @holds 2.7.7.2 device: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression
  it('notifies the driver unless it asked not to', () => {
    const pair = makePair(8, { packed });
    offer(pair, 4);
    expect(use(pair)).toBe(true);
    expect(pair.device.flush()).toBe(false);
    pair.driver.disableNotifications();
    expect(use(pair)).toBe(false);
    expect(pair.driver.enableNotifications()).toBe(true);
    drain(pair);
    expect(pair.driver.enableNotifications()).toBe(false);
    expect(use(pair)).toBe(true);
  });

  it('never touches the event index, which was not negotiated', () => {
    const pair = makePair(8, { packed });
    const { memory, areas } = pair;
    const event = packed ? areas.device : areas.device + 4 + 8 * 8;
    memory.write(event, new Uint8Array([0xaa, 0x2a]));
    memory.write(packed ? areas.driver : areas.driver + 4 + 2 * 8, new Uint8Array([0xbb, 0x2b]));
    for (let i = 0; i < 40; i++) {
      expect(offer(pair)).toBe(true);
      expect(use(pair)).toBe(true);
      drain(pair);
      if (packed) continue;
      pair.driver.disableNotifications();
      pair.device.disableNotifications();
      pair.driver.enableNotifications();
      pair.device.enableNotifications();
    }
    expect([...memory.read(event, 2)]).toEqual([0xaa, 0x2a]);
  });
});

describe.each([
  { packed: false, ring: 'split' },
  { packed: true, ring: 'packed' },
])('$ring ring with event index', ({ packed }) => {
  // @holds 2.7.10.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
  // @holds 2.7.13.4.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Supplying Buffers to The Device / Notifying The Device
  it('notifies the device once for all that comes before it looks again', () => {
    const pair = makePair(8, { packed, eventIdx: true });
    pair.device.enableNotifications();
    for (let lap = 0; lap < 50; lap++) {
      expect(offer(pair)).toBe(true);
      expect(offer(pair)).toBe(false);
      expect(offer(pair, 3)).toBe(false);
      expect(pair.device.enableNotifications()).toBe(true);
      use(pair, 5);
      drain(pair);
      expect(pair.device.enableNotifications()).toBe(false);
    }
  });

  // @holds 2.7.7.2 device: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression
  it('notifies the driver once for all that is used before it looks again', () => {
    const pair = makePair(8, { packed, eventIdx: true });
    pair.driver.enableNotifications();
    for (let lap = 0; lap < 50; lap++) {
      offer(pair, 6);
      expect(use(pair, 2)).toBe(true);
      expect(use(pair, 1)).toBe(false);
      expect(pair.driver.enableNotifications()).toBe(true);
      drain(pair);
      expect(pair.driver.enableNotifications()).toBe(false);
      expect(use(pair, 3)).toBe(true);
      drain(pair);
      expect(pair.driver.enableNotifications()).toBe(false);
    }
  });
});

// @holds 2.7.7.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression
// @holds 2.7.10.2 device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
it('keeps the flags of a split ring at 0 with event index, and is blind to those of the other side', () => {
  const pair = makePair(8, { eventIdx: true });
  const { memory, areas } = pair;
  pair.driver.disableNotifications();
  pair.device.disableNotifications();
  expect([...memory.read(areas.driver, 2), ...memory.read(areas.device, 2)]).toEqual([0, 0, 0, 0]);
  memory.write(areas.driver, new Uint8Array([1]));
  memory.write(areas.device, new Uint8Array([1]));
  expect(offer(pair)).toBe(true);
  expect(use(pair)).toBe(true);
});

it('lets a packed ring silence the other side with the event index as well', () => {
  const pair = makePair(8, { packed: true, eventIdx: true });
  pair.device.disableNotifications();
  pair.driver.disableNotifications();
  for (let i = 0; i < 20; i++) {
    expect(offer(pair)).toBe(false);
    expect(use(pair)).toBe(false);
    drain(pair);
  }
});

it('reads a packed event structure that was not negotiated, or is reserved, as enabled', () => {
  const position = new Position(4, 2, 1);
  expect(needPackedEvent(2 << 16, position, 1, 4, false)).toBe(true);
  expect(needPackedEvent(3 << 16, position, 1, 4, true)).toBe(true);
  expect(needPackedEvent(1 << 16, position, 1, 4, true)).toBe(false);
});

// @holds 2.8.16 driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table
it('sends the position of the next descriptor with a packed notification', () => {
  const pair = makePair(3, { packed: true });
  const seen: number[] = [];
  for (let i = 0; i < 7; i++) {
    offer(pair);
    seen.push(pair.driver.notificationData());
    use(pair);
    drain(pair);
  }
  const one = 1 << 15;
  expect(seen).toEqual([1 | one, 2 | one, 0, 1, 2, 0 | one, 1 | one]);
  pair.driver.submit(element, [], 0);
  expect(pair.driver.notificationData()).toBe(1 | one);
});

it('sends the available index with a split notification, the top bit where the wrap counter stands', () => {
  const pair = makePair(2, { packed: false });
  for (let i = 1; i <= 0x1_0002; i++) {
    pair.driver.submit(element, [], 0);
    pair.driver.publish();
    if (i < 3 || i > 0x7ffd) expect(pair.driver.notificationData()).toBe(i & 0xffff);
    use(pair);
    drain(pair);
  }
});
