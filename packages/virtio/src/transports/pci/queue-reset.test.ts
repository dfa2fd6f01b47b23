import { expect, it } from 'vitest';
import { openSample, type Seen, tapped } from './driver.fixture.ts';
import { commonRegisters } from './registers.ts';

const { queue_reset, queue_enable, queue_size, queue_desc_lo } = commonRegisters.register;

const isRead =
  (register: { readonly offset: number }) =>
  ({ kind, bar, offset }: Seen): boolean =>
    kind === 'barRead' && bar === 0 && offset === register.offset;

// @holds 2.6.1.1.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
// @holds 2.6.1.2.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable
// @holds 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
it.each([
  ['queue_reset', queue_reset],
  ['queue_enable', queue_enable],
])(
  'a queue whose %s says that its reset takes time keeps its memory until it is done',
  async (_name, slow) => {
    let reading = 0;
    const held: number[] = [];
    const { access, open, seen, errors } = tapped({
      read: (one) => {
        if (reading === 0 || !isRead(slow)(one)) return undefined;
        held.push(access.allocator.available);
        reading--;
        return 1;
      },
    });
    const opened = await openSample(await open());
    const level = access.allocator.available;
    const waiting = expect(opened.queue('first').request(new Uint8Array(), 8)).resolves.toBeDefined();
    await waiting;
    seen.length = 0;
    reading = 5;
    await opened.resetQueue('first');
    expect(held).toEqual(Array.from({ length: 5 }, () => level));
    expect(access.allocator.available).toBeGreaterThan(level);
    const last = seen.filter((one) => isRead(queue_reset)(one) || isRead(queue_enable)(one)).slice(-2);
    expect(last.map(({ value }) => value)).toEqual([0, 0]);

    seen.length = 0;
    await opened.enableQueue('first', 0, 8);
    const writes = seen
      .filter(({ kind, bar }) => kind === 'barWrite' && bar === 0)
      .map(({ offset }) => offset);
    for (const { offset } of [queue_size, queue_desc_lo]) expect(writes).toContain(offset);
    expect(writes.at(-1)).toBe(queue_enable.offset);
    await expect(opened.queue('first').request(new Uint8Array(), 8)).resolves.toBeDefined();
    expect(errors).toEqual([]);
    await opened.close();
  },
);
