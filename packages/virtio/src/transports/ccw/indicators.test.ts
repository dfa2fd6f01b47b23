import { describe, expect, it } from 'vitest';
import { device } from '../../device/device.ts';
import { deviceType } from '../../spec/device-type.ts';
import { struct } from '../../spec/layout.ts';
import { fine, Guest, rejected } from './ccw.fixture.ts';
import { virtio_thinint_area } from './structures.ts';

interface Area {
  readonly summary?: bigint;
  readonly indicator?: bigint;
  readonly bit?: bigint;
  readonly isc?: number;
}

const setAdapter = (guest: Guest, area: Area = {}) => {
  const { summary = 0x8000n, indicator = 0x8100n, bit = 13n, isc = 6 } = area;
  const block = { summary_indicator: summary, indicator, bit_nr: bit, isc };
  return guest.command('SET_IND_ADAPTER', virtio_thinint_area.encode(block));
};

const serving = { serve: { first: () => {}, second: () => {} } };

/** A live guest with two queues; nothing of its interruptions is from before. */
function live(setUp: (guest: Guest) => void): Guest {
  const guest = new Guest({}, serving).negotiate();
  setUp(guest);
  guest.enableQueue(0);
  guest.enableQueue(2);
  guest.go();
  guest.interruptions.length = 0;
  return guest;
}

const use = (guest: Guest, queue: number, count = 1): void => {
  guest.offer(queue, count);
  guest.kick(queue);
};

describe('classic indicators', () => {
  it('have a bit for each queue, and an interruption when none is pending', () => {
    const guest = live((one) => one.setIndicators('SET_IND', 0x8000));
    use(guest, 0);
    use(guest, 2);
    expect(guest.view(0x8000, 8).getBigUint64(0)).toBe(0b101n);
    expect(guest.interruptions).toHaveLength(1);
    expect(guest.test().cc).toBe(0);
    use(guest, 0, 2);
    expect(guest.interruptions).toHaveLength(2);
    expect(guest.adapterInterruptions).toEqual([]);
  });

  it('leave the bits of others alone', () => {
    const guest = live((one) => one.setIndicators('SET_IND', 0x8000));
    guest.memory.write(0x8000, new Uint8Array(8).fill(0xf0));
    use(guest, 0);
    expect(guest.view(0x8000, 8).getBigUint64(0)).toBe(0xf0f0f0f0_f0f0f0f1n);
  });

  it('are taken back by the address 0', () => {
    const guest = live((one) => one.setIndicators('SET_IND', 0x8000));
    expect(guest.setIndicators('SET_IND', 0)).toMatchObject(fine);
    guest.interruptions.length = 0;
    use(guest, 0);
    expect(guest.used(0)).toBe(1);
    expect(guest.interruptions).toEqual([]);
  });

  it.each([2n ** 20n, 2n ** 20n - 4n, 2n ** 53n, 2n ** 64n - 1n])(
    'are rejected in no memory: %i',
    (address) => {
      const guest = new Guest().negotiate();
      for (const name of ['SET_IND', 'SET_CONF_IND'] as const) {
        expect(guest.setIndicators(name, address)).toMatchObject(rejected);
      }
      expect(guest.codes).toEqual(Array(2).fill('ADDRESS_OUT_OF_BOUNDS'));
    },
  );

  it('are named, and no more, when their memory goes', () => {
    const guest = new Guest({}, serving);
    const region = guest.memory.addRegion(2 ** 24, { buffer: new ArrayBuffer(4096) });
    guest.negotiate();
    guest.setIndicators('SET_IND', 2 ** 24);
    guest.setIndicators('SET_CONF_IND', 2 ** 24 + 8);
    guest.enableQueue(0);
    guest.go();
    guest.memory.removeRegion(region);
    guest.interruptions.length = 0;
    use(guest, 0);
    guest.device.updateConfig({ short: 1 });
    expect(guest.used(0)).toBe(1);
    expect(guest.codes).toEqual(Array(2).fill('ADDRESS_OUT_OF_BOUNDS'));
    expect(guest.interruptions).toEqual([]);
  });

  it('are rejected by a device with more queues than bits', () => {
    const type = deviceType({
      id: 20,
      name: 'wide',
      features: {},
      queues: { many: { from: 0 } },
      config: struct('wide_config', {}),
    });
    const wide = device(type, { queues: { many: { count: 65, size: 4 } } });
    const guest = new Guest();
    guest.css.remove(guest.schid);
    guest.css.add(wide);
    guest.negotiate();
    expect(guest.setIndicators('SET_IND', 0x8000)).toMatchObject(rejected);
    expect(setAdapter(guest)).toMatchObject(fine);
  });
});

describe('configuration indicators', () => {
  it('have one bit, and interruptions of the subchannel whatever the queues have', () => {
    for (const adapter of [false, true]) {
      const guest = live((one) => {
        if (adapter) setAdapter(one);
        one.setIndicators('SET_CONF_IND', 0x8008);
      });
      guest.device.updateConfig({ short: 1 });
      expect(guest.view(0x8008, 8).getBigUint64(0)).toBe(1n);
      expect(guest.interruptions).toHaveLength(1);
      expect(guest.adapterInterruptions).toEqual([]);
    }
  });
});

describe('two-stage indicators', () => {
  it('have a bit for each queue from the given one on, counted from the left, and a summary', () => {
    const guest = live((one) => setAdapter(one));
    use(guest, 0);
    use(guest, 2);
    expect([...guest.memory.read(0x8100, 3)]).toEqual([0, 0b0000_0101, 0]);
    expect(guest.memory.read(0x8000, 1)[0]).toBe(1);
    expect(guest.interruptions).toEqual([]);
  });

  // @holds 4.3.3.1.2.1 device: Virtio Transport Options / Virtio over channel I/O / Device Operation / Host->Guest Notification / Notification via Adapter I/O Interrupts
  it('interrupt only when the summary was clear', () => {
    const guest = live((one) => setAdapter(one));
    use(guest, 0);
    expect(guest.adapterInterruptions).toEqual([6]);
    use(guest, 2);
    use(guest, 0, 2);
    expect(guest.adapterInterruptions).toEqual([6]);
    guest.memory.write(0x8000, Uint8Array.of(0));
    use(guest, 0, 3);
    expect(guest.adapterInterruptions).toEqual([6, 6]);
    // One that the guest shares with other devices.
    guest.memory.write(0x8000, Uint8Array.of(0x80));
    use(guest, 0, 4);
    expect(guest.adapterInterruptions).toEqual([6, 6]);
    expect(guest.memory.read(0x8000, 1)[0]).toBe(0x81);
  });

  // @holds 4.3.2.6.3.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting Up Indicators / Setting Up Two-Stage Queue Indicators
  it('exclude classic ones, and the other way round', () => {
    const guest = new Guest().negotiate();
    expect(guest.setIndicators('SET_IND', 0x8000)).toMatchObject(fine);
    expect(setAdapter(guest)).toMatchObject(rejected);
    expect(guest.setIndicators('SET_IND', 0x8010)).toMatchObject(fine);
    guest.command('VDEV_RESET');
    expect(setAdapter(guest)).toMatchObject(fine);
    expect(guest.setIndicators('SET_IND', 0x8000)).toMatchObject(rejected);
    expect(setAdapter(guest, { bit: 0n })).toMatchObject(fine);
    // Taken back, they exclude nothing.
    expect(setAdapter(guest, { summary: 0n, indicator: 0n })).toMatchObject(fine);
    expect(guest.setIndicators('SET_IND', 0x8000)).toMatchObject(fine);
  });

  it('are rejected by a device that knows classic ones alone', () => {
    const guest = new Guest({ adapterInterrupts: false }).negotiate();
    expect(setAdapter(guest)).toMatchObject(rejected);
    expect(guest.setIndicators('SET_IND', 0x8000)).toMatchObject(fine);
  });

  it.each([
    { summary: 2n ** 20n },
    { indicator: 2n ** 20n - 1n },
    { indicator: 2n ** 60n },
    { bit: 2n ** 63n },
    { bit: 8n * 2n ** 20n },
    { isc: 8 },
    { isc: 255 },
  ])('are rejected where they cannot be: %o', (area) => {
    const guest = new Guest().negotiate();
    expect(setAdapter(guest, area)).toMatchObject(rejected);
    expect(guest.setIndicators('SET_IND', 0x8000)).toMatchObject(fine);
  });
});
