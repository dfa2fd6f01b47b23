import { describe, expect, it } from 'vitest';
import { restoreDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import { finished } from '../../link/offload.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import type { NetTimer } from './coalescing.ts';
import { netDevice } from './device.ts';
import { le16, le32 } from './le.fixture.ts';
import { Far, frameOf, pairsOf, RawGuest } from './raw-guest.fixture.ts';
import type { NetFeature } from './spec.ts';
import { coalescingCommand, controlClass } from './spec-control.ts';

const ok = Uint8Array.of(0);
const refused = Uint8Array.of(1);
const { RX_SET, TX_SET, VQ_SET, VQ_GET } = coalescingCommand;

/** Time that passes as a test tells it. */
class Time {
  now = 0;
  #waiting: { readonly at: number; readonly due: () => void }[] = [];

  readonly timer: NetTimer = (microseconds, due) => {
    const one = { at: this.now + microseconds, due };
    this.#waiting.push(one);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== one);
    };
  };

  get timers(): number {
    return this.#waiting.length;
  }

  pass(microseconds: number): void {
    this.now += microseconds;
    const due = this.#waiting.filter(({ at }) => at <= this.now);
    this.#waiting = this.#waiting.filter(({ at }) => at > this.now);
    for (const one of due) one.due();
  }
}

async function opened(features: readonly NetFeature[], ring: 'split' | 'packed' = 'split', eventIdx = true) {
  const time = new Time();
  const device = netDevice({ queuePairs: 2, timer: time.timer });
  const far = new Far(device.endpoint);
  const reserved = [
    'RING_RESET',
    ring === 'packed' ? 'RING_PACKED' : 'INDIRECT_DESC',
    ...(eventIdx ? (['EVENT_IDX'] as const) : []),
  ] as const;
  const guest = await RawGuest.open(device, ['CTRL_VQ', 'DEVICE_STATS', ...features], {
    reserved,
    queues: pairsOf(features.includes('MQ') ? 2 : 1),
  });
  const coal = (command: number, ...values: number[]): Promise<Uint8Array> =>
    guest.command(controlClass.NOTF_COAL, command, values);
  const interrupts = (kind: 'received' | 'sent', queue = 0): number => device[kind][queue]!.interrupts;
  return { time, device, far, guest, coal, interrupts };
}

describe.each([
  ['split', true],
  ['split', false],
  ['packed', true],
  ['packed', false],
] as const)('notifications that are held back, of a %s ring, event index: %s', (ring, eventIdx) => {
  // @holds 5.1.9.5.10.6 device: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('come after so many packets, or so much time, whichever is first', async () => {
    const { time, far, guest, coal, interrupts } = await opened(['NOTF_COAL', 'MQ'], ring, eventIdx);
    expect(await coal(RX_SET, ...le32(3, 50))).toEqual(ok);
    const heard = Array.from({ length: 8 }, () => guest.hear());
    const before = interrupts('received');
    const come = (): void => void far.device.receive(frameOf(60), finished);
    come();
    come();
    expect(interrupts('received')).toBe(before);
    expect(time.timers).toBe(1);
    come();
    expect(interrupts('received')).toBe(before + 1);
    expect(time.timers).toBe(0);
    await Promise.all(heard.slice(0, 3));
    come();
    time.pass(49);
    expect(interrupts('received')).toBe(before + 1);
    time.pass(1);
    expect(interrupts('received')).toBe(before + 2);
    await heard[3];
    // From the next packet on it counts anew.
    time.pass(1000);
    come();
    time.pass(49);
    expect(interrupts('received')).toBe(before + 2);
    time.pass(1);
    await heard[4];
  });

  it('are those of each queue by itself', async () => {
    const { time, far, guest, coal, interrupts } = await opened(['NOTF_COAL', 'MQ'], ring, eventIdx);
    expect(await coal(TX_SET, ...le32(2, 100))).toEqual(ok);
    const heard = guest.hear();
    far.device.receive(frameOf(60), finished);
    await heard;
    const sent = [guest.send(frameOf(60)), guest.send(frameOf(61), {}, 1)];
    // The frames are out; that their buffers are back is heard later.
    expect(far.frames).toHaveLength(2);
    expect(interrupts('sent')).toBe(0);
    expect(time.timers).toBe(2);
    time.pass(100);
    await Promise.all(sent);
  });
});

describe('the commands of coalescing', () => {
  const all: readonly NetFeature[] = ['NOTF_COAL', 'VQ_NOTF_COAL', 'MQ'];

  // @holds 5.1.9.5.10.6 device: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('set what the last of them said, as in the example of the specification', async () => {
    const { guest, coal } = await opened(all);
    const get = async (index: number): Promise<number[]> => {
      const answer = await guest.command(controlClass.NOTF_COAL, VQ_GET, le16(index, 0xffff), 8);
      const view = new DataView(answer.buffer, answer.byteOffset);
      expect(answer[0]).toBe(0);
      return [view.getUint32(1, true), view.getUint32(5, true)];
    };
    expect(await get(0)).toEqual([0, 0]);
    await coal(RX_SET, ...le32(1, 2));
    // What is reserved is not looked at.
    expect(await coal(VQ_SET, ...le16(0, 0x1234), ...le32(3, 4))).toEqual(ok);
    expect(await get(0)).toEqual([3, 4]);
    expect(await get(2)).toEqual([1, 2]);
    await coal(VQ_SET, ...le16(1, 0), ...le32(5, 6));
    expect(await get(1)).toEqual([5, 6]);
    expect(await get(3)).toEqual([0, 0]);
    await coal(TX_SET, ...le32(7, 8));
    expect(await get(1)).toEqual([7, 8]);
    expect(await get(3)).toEqual([7, 8]);
    expect(await get(0)).toEqual([3, 4]);
  });

  // @holds 5.1.9.5.10.6 device: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('are refused for queues that are none of frames, and when they are cut short', async () => {
    const { guest, coal } = await opened(all);
    for (const index of [4, 5, 0xffff]) {
      expect(await coal(VQ_SET, ...le16(index, 0), ...le32(1, 1))).toEqual(refused);
      expect(await guest.command(controlClass.NOTF_COAL, VQ_GET, le16(index, 0), 8)).toEqual(refused);
    }
    await guest.opened.resetQueue('receiveq', 1);
    expect(await coal(VQ_SET, ...le16(2, 0), ...le32(1, 1))).toEqual(refused);
    await guest.opened.enableQueue('receiveq', 1);
    expect(await coal(VQ_SET, ...le16(2, 0), ...le32(1, 1))).toEqual(ok);
    for (const command of [RX_SET, TX_SET, VQ_SET, VQ_GET, 4]) {
      expect(await coal(command, 1, 0, 0)).toEqual(refused);
    }
    expect(await coal(VQ_GET, ...le16(0, 0))).toEqual(refused);
  });

  it('need their features, and a device that has the time', async () => {
    const one = await opened(['NOTF_COAL']);
    expect(await one.coal(VQ_SET, ...le16(0, 0), ...le32(1, 1))).toEqual(refused);
    expect(await one.coal(VQ_GET, ...le16(0, 0))).toEqual(refused);
    const other = await opened(['VQ_NOTF_COAL']);
    expect(await other.coal(RX_SET, ...le32(1, 1))).toEqual(refused);
    expect(await other.coal(TX_SET, ...le32(1, 1))).toEqual(refused);
    expect(netDevice({}).behaviour.offers).not.toContain('NOTF_COAL');
    expect(() => netDevice({ offers: ['CTRL_VQ', 'NOTF_COAL'] })).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });

  it('notify at once of what is due by what they set', async () => {
    const { time, far, guest, coal, interrupts } = await opened(all);
    await coal(RX_SET, ...le32(15, 1000));
    const heard = Array.from({ length: 20 }, () => guest.hear());
    for (let i = 0; i < 10; i++) far.device.receive(frameOf(60), finished);
    expect(interrupts('received')).toBe(0);
    await coal(RX_SET, ...le32(12, 500));
    expect(interrupts('received')).toBe(0);
    await coal(VQ_SET, ...le16(0, 0), ...le32(8, 1000));
    expect(interrupts('received')).toBe(1);
    far.device.receive(frameOf(60), finished);
    await coal(RX_SET, ...le32(0, 1000));
    expect(interrupts('received')).toBe(2);
    expect(time.timers).toBe(0);
    await Promise.all(heard.slice(0, 11));
  });

  // @holds 5.1.9.5.10.6 device: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('are forgotten with a reset of the device, and those of one queue with its own', async () => {
    const { time, device, far, guest, coal, interrupts } = await opened(all);
    await coal(RX_SET, ...le32(9, 90));
    await coal(VQ_SET, ...le16(0, 0), ...le32(5, 50));
    const lost = guest.hear();
    far.device.receive(frameOf(60), finished);
    expect(time.timers).toBe(1);
    const gone = lost.catch(() => undefined);
    await guest.opened.resetQueue('receiveq');
    await gone;
    expect(time.timers).toBe(0);
    await guest.opened.enableQueue('receiveq');
    const answer = await guest.command(controlClass.NOTF_COAL, VQ_GET, le16(0, 0), 8);
    expect([...answer]).toEqual([0, ...le32(9, 90)]);
    await guest.opened.close();
    const again = await RawGuest.open(device, ['CTRL_VQ', 'NOTF_COAL']);
    const before = interrupts('received');
    const heard = again.hear();
    far.device.receive(frameOf(60), finished);
    await heard;
    expect(interrupts('received')).toBe(before + 1);
  });

  it('hold no notification beyond half of a queue, nor while the device is suspended', async () => {
    const time = new Time();
    const device = netDevice({ timer: time.timer, queueSize: 16 });
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['CTRL_VQ', 'NOTF_COAL', 'DEVICE_STATS'], {
      reserved: ['SUSPEND'],
    });
    await guest.command(controlClass.NOTF_COAL, RX_SET, le32(0xffff_ffff, 0xffff_ffff));
    const heard = Array.from({ length: 16 }, () => guest.hear());
    for (let i = 0; i < 8; i++) far.device.receive(frameOf(60), finished);
    expect(device.received[0]!.interrupts).toBe(1);
    await Promise.all(heard.slice(0, 8));
    far.device.receive(frameOf(60), finished);
    expect(device.received[0]!.interrupts).toBe(1);
    await guest.opened.suspend();
    expect(device.received[0]!.interrupts).toBe(2);
    time.pass(0xffff_ffff);
    expect(device.received[0]!.interrupts).toBe(2);
  });

  it('go on in another device', async () => {
    const { guest, coal } = await opened(all);
    await coal(RX_SET, ...le32(1, 2));
    await coal(VQ_SET, ...le16(3, 0), ...le32(3, 4));
    const state: DeviceState = JSON.parse(JSON.stringify(guest.transport.save()));
    const other = netDevice({ queuePairs: 2, timer: new Time().timer });
    new Far(other.endpoint);
    const restored = new Loopback(other, { memory: guest.transport.memory });
    restoreDevice(restored.core, state);
    restored.core.resume();
    expect(restored.save().device).toEqual(state.device);
    expect(state.device).toMatchObject({
      6: {
        all: [
          [1, 2],
          [0, 0],
        ],
        queues: [
          [1, 2],
          [0, 0],
          [1, 2],
          [3, 4],
        ],
      },
    });
  });
});
