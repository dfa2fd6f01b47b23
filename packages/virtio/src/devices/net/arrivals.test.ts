import { describe, expect, it } from 'vitest';
import { finished } from '../../link/offload.ts';
import { netDevice } from './device.ts';
import { Far, frameOf, pairsOf, RawGuest } from './raw-guest.fixture.ts';

async function opened(ring: 'split' | 'packed', eventIdx: boolean, queueSize = 256) {
  const device = netDevice({ queueSize });
  const far = new Far(device.endpoint);
  const reserved = [
    ring === 'packed' ? 'RING_PACKED' : 'INDIRECT_DESC',
    ...(eventIdx ? (['EVENT_IDX'] as const) : []),
  ] as const;
  const guest = await RawGuest.open(device, ['CTRL_VQ', 'DEVICE_STATS'], { reserved, queues: pairsOf(1) });
  const come = (count: number): void => {
    for (let i = 0; i < count; i++) expect(far.device.receive(frameOf(60, i), finished)).toBe(true);
  };
  const begun = device.received[0]!.interrupts;
  return { device, far, guest, come, interrupts: () => device.received[0]!.interrupts - begun };
}

describe.each([
  ['split', true],
  ['split', false],
  ['packed', true],
  ['packed', false],
] as const)('frames that follow each other at once, of a %s ring, event index: %s', (ring, eventIdx) => {
  it('are told of together, behind the last of them', async () => {
    const { far, guest, come, interrupts } = await opened(ring, eventIdx);
    const heard = Array.from({ length: 8 }, () => guest.hear());
    far.device.more?.(true);
    come(7);
    expect(interrupts()).toBe(0);
    far.device.more?.(false);
    expect(interrupts()).toBe(1);
    const frames = await Promise.all(heard.slice(0, 7));
    expect(frames.map(({ frame }) => frame)).toEqual(Array.from({ length: 7 }, (_, i) => frameOf(60, i)));
    // One by itself is told of at once, and nothing is told of twice.
    come(1);
    expect(interrupts()).toBe(2);
    far.device.more?.(true);
    far.device.more?.(false);
    expect(interrupts()).toBe(2);
    expect(guest.errors).toEqual([]);
  });

  it('are told of when a quarter of a queue is left, so that it is filled again', async () => {
    const { far, guest, come, interrupts } = await opened(ring, eventIdx, 16);
    const heard = Array.from({ length: 16 }, () => guest.hear());
    far.device.more?.(true);
    come(11);
    expect(interrupts()).toBe(0);
    come(1);
    expect(interrupts()).toBe(1);
    await heard[11];
    come(3);
    far.device.more?.(false);
    expect(interrupts()).toBe(2);
  });

  it('are forgotten with the queue that they came in', async () => {
    const { device, far, guest, come, interrupts } = await opened(ring, eventIdx);
    guest.give(4);
    far.device.more?.(true);
    come(2);
    await guest.opened.close();
    const before = interrupts();
    far.device.more?.(false);
    expect(interrupts()).toBe(before);
    expect(device.driven).toBe(false);
  });
});
