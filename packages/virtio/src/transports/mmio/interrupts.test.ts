import { describe, expect, it } from 'vitest';
import { status } from '../../spec/status.ts';
import { Guest } from './mmio.fixture.ts';
import { interruptBit } from './registers.ts';

const serving = { serve: { first: () => {}, second: () => {} } };

const live = (): Guest => new Guest({}, serving).negotiate().enableQueue(0).enableQueue(1).go();

const use = (guest: Guest, index: number, count = 1): void => {
  guest.offer(index, count);
  guest.kick(index);
};

describe('the interrupt of an MMIO device', () => {
  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('is up from an event until its bit is acknowledged', () => {
    const guest = live();
    expect([guest.get('InterruptStatus'), guest.line]).toEqual([0, []]);
    use(guest, 0);
    expect([guest.get('InterruptStatus'), guest.line]).toEqual([interruptBit.QUEUE, [true]]);
    expect(guest.get('InterruptStatus')).toBe(interruptBit.QUEUE);
    guest.set('InterruptACK', interruptBit.QUEUE);
    expect([guest.get('InterruptStatus'), guest.line]).toEqual([0, [true, false]]);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('tells buffers from the configuration, and stays up until both are acknowledged', () => {
    const guest = live();
    guest.device.updateConfig({ short: 1 });
    expect(guest.get('InterruptStatus')).toBe(interruptBit.CONFIG);
    use(guest, 1);
    expect(guest.get('InterruptStatus')).toBe(interruptBit.CONFIG | interruptBit.QUEUE);
    guest.set('InterruptACK', interruptBit.CONFIG);
    expect([guest.get('InterruptStatus'), guest.line]).toEqual([interruptBit.QUEUE, [true]]);
    guest.set('InterruptACK', 0);
    expect(guest.level).toBe(true);
    guest.set('InterruptACK', interruptBit.QUEUE);
    expect(guest.line).toEqual([true, false]);
    expect(guest.codes).toEqual([]);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('comes again for what happens between a look and its acknowledgement of something else', () => {
    const guest = live();
    use(guest, 0);
    const seen = guest.get('InterruptStatus');
    guest.device.updateConfig({ short: 1 });
    guest.set('InterruptACK', seen);
    expect([guest.get('InterruptStatus'), guest.level]).toEqual([interruptBit.CONFIG, true]);
  });

  it('names bits of InterruptACK that mean nothing, and takes the others', () => {
    const guest = live();
    use(guest, 0);
    guest.set('InterruptACK', 0xffff_ffff);
    expect(guest.codes).toEqual(['REGISTER_ACCESS']);
    expect([guest.get('InterruptStatus'), guest.level]).toEqual([0, false]);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it.each(['Status', 'reset'])('is down after a reset: %s', (how) => {
    const guest = live();
    use(guest, 0);
    guest.device.updateConfig({ short: 1 });
    if (how === 'Status') guest.set('Status', 0);
    else guest.window.reset();
    expect([guest.get('InterruptStatus'), guest.line]).toEqual([0, [true, false]]);
  });

  it('tells of a device that needs a reset', () => {
    const guest = live();
    guest.memory.write(0x11002, Uint8Array.of(0xff, 0xff));
    guest.kick(0);
    expect(guest.get('Status') & status.DEVICE_NEEDS_RESET).toBe(status.DEVICE_NEEDS_RESET);
    expect(guest.acknowledge()).toBe(interruptBit.CONFIG);
  });

  it('does not come for what completes after a reset', async () => {
    const ends: (() => void)[] = [];
    const guest = new Guest(
      {},
      { serve: { first: () => new Promise<void>((resolve) => void ends.push(resolve)) } },
    )
      .negotiate()
      .enableQueue(0)
      .go();
    use(guest, 0);
    guest.set('Status', 0);
    guest.negotiate().enableQueue(0).go();
    ends[0]?.();
    await Promise.resolve();
    expect([guest.line, guest.used(0)]).toEqual([[], 0]);
  });
});
