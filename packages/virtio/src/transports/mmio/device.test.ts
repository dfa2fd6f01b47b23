import { describe, expect, it } from 'vitest';
import { UsageError } from '../../errors.ts';
import { reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import { MmioDevice } from './device.ts';
import { Guest } from './mmio.fixture.ts';
import { mmioRegisters } from './registers.ts';

const { RING_RESET, RING_PACKED, NOTIFICATION_DATA, SUSPEND } = reservedFeatures;
const serving = { serve: { first: () => {} } };

const live = (...bits: number[]): Guest =>
  new Guest({}, serving)
    .negotiate(...bits)
    .enableQueue(0)
    .go();

describe('the registers of version 2', () => {
  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('say what is there: virt, version 2, the device, its vendor', () => {
    const guest = new Guest({ vendorId: 0xabcd_1234 });
    expect(guest.get('MagicValue')).toBe(0x74726976);
    expect(guest.get('Version')).toBe(2);
    expect(guest.get('DeviceID')).toBe(20);
    expect(guest.get('VendorID')).toBe(0xabcd_1234);
    expect(new Guest().get('VendorID')).toBe(0x1af4);
  });

  it('stand where the specification has them', () => {
    const at = mmioRegisters.registers.map(({ name, offset }) => `${offset.toString(16)} ${name}`);
    expect(at).toMatchInlineSnapshot(`
      [
        "0 MagicValue",
        "4 Version",
        "8 DeviceID",
        "c VendorID",
        "10 DeviceFeatures",
        "14 DeviceFeaturesSel",
        "20 DriverFeatures",
        "24 DriverFeaturesSel",
        "30 QueueSel",
        "34 QueueSizeMax",
        "38 QueueSize",
        "44 QueueReady",
        "50 QueueNotify",
        "60 InterruptStatus",
        "64 InterruptACK",
        "70 Status",
        "80 QueueDescLow",
        "84 QueueDescHigh",
        "90 QueueDriverLow",
        "94 QueueDriverHigh",
        "a0 QueueDeviceLow",
        "a4 QueueDeviceHigh",
        "ac SHMSel",
        "b0 SHMLenLow",
        "b4 SHMLenHigh",
        "b8 SHMBaseLow",
        "bc SHMBaseHigh",
        "c0 QueueReset",
        "fc ConfigGeneration",
      ]
    `);
  });

  it('show the offered features 32 at a time, and 0 behind the last', () => {
    const guest = new Guest();
    for (const word of [0, 1, 2, 3, 4, 0xffff_ffff]) {
      guest.set('DeviceFeaturesSel', word);
      expect(guest.get('DeviceFeatures')).toBe(word < 4 ? guest.window.core.offered.word(word) : 0);
    }
    guest.set('DeviceFeaturesSel', 3);
    expect(guest.get('DeviceFeatures')).toBe(0x8000_0000);
  });

  it('take all 128 feature bits, and name those behind', () => {
    const guest = new Guest().negotiate(0, 50, 127);
    expect(guest.window.core.driverFeatures.bits()).toEqual([0, 32, 50, 127]);
    expect(guest.get('Status') & status.FEATURES_OK).toBe(status.FEATURES_OK);
    guest.set('Status', 0);
    guest.set('DriverFeaturesSel', 4);
    guest.set('DriverFeatures', 1);
    expect(guest.codes).toEqual(['FEATURES_REFUSED']);
  });

  it('do not offer what MMIO has no registers for', () => {
    const { offered } = new Guest().window.core;
    const bits = [reservedFeatures.ADMIN_VQ, reservedFeatures.SR_IOV, reservedFeatures.NOTIF_CONFIG_DATA];
    expect(bits.map((bit) => offered.has(bit))).toEqual([false, false, false]);
  });

  it('show a queue by its size, ready or not, and size 0 where there is none', () => {
    const guest = new Guest().negotiate();
    const sizes = [0, 1, 2, 3, 0xffff_ffff].map((index) => {
      guest.set('QueueSel', index);
      return [guest.get('QueueSizeMax'), guest.get('QueueReady')];
    });
    expect(sizes).toEqual([
      [64, 0],
      [100, 0],
      [100, 0],
      [0, 0],
      [0, 0],
    ]);
    guest.enableQueue(0);
    expect(guest.get('QueueReady')).toBe(1);
    for (const register of ['QueueSize', 'QueueReady', 'QueueDescLow', 'QueueReset'] as const) {
      guest.set('QueueSel', 7);
      guest.set(register, 1);
    }
    expect(guest.codes).toEqual(Array.from({ length: 4 }, () => 'REGISTER_ACCESS'));
  });

  it('take addresses of 64 bits, in halves', () => {
    const guest = new Guest().negotiate();
    guest.set('QueueDescLow', 0xffff_f000);
    guest.set('QueueDescHigh', 0x0012_3456);
    guest.set('QueueDriverHigh', 1);
    guest.set('QueueDriverLow', 0x8000_0000);
    guest.set('QueueDeviceLow', 4);
    expect(guest.window.core.queues[0]).toMatchObject({
      descriptor: 0x12_3456_ffff_f000,
      driver: 0x1_8000_0000,
      device: 4,
    });
  });

  it('keep a queue size that can be, and name one that cannot', () => {
    const guest = new Guest({}, { reserved: ['RING_PACKED'] }).negotiate();
    for (const size of [0, 3, 128, 0xffff_ffff]) guest.set('QueueSize', size);
    expect(guest.codes).toEqual(Array.from({ length: 4 }, () => 'QUEUE_SIZE_INVALID'));
    expect(guest.window.core.queues[0]?.size).toBe(64);
    guest.negotiate(RING_PACKED).set('QueueSize', 33);
    expect(guest.window.core.queues[0]?.size).toBe(33);
  });

  it('hold the set-up of a queue that is ready, and name who writes it', () => {
    const guest = new Guest().negotiate().enableQueue(0);
    const before = { ...guest.window.core.queues[0] };
    guest.set('QueueSize', 8);
    guest.set('QueueDescLow', 0);
    guest.set('QueueDeviceHigh', 1);
    expect(guest.window.core.queues[0]).toEqual(before);
    guest.set('QueueReady', 1);
    guest.set('QueueReady', 2);
    expect(guest.codes).toEqual(Array.from({ length: 4 }, () => 'REGISTER_ACCESS'));
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('keep the device off a queue that is not ready', () => {
    const guest = live();
    guest.set('QueueReady', 0);
    expect(guest.get('QueueReady')).toBe(0);
    guest.offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(0);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
    guest.memory.write(0x10000, new Uint8Array(0x3000));
    guest.set('QueueReady', 1);
    guest.offer(0);
    guest.kick(0);
    expect([guest.get('QueueReady'), guest.used(0)]).toEqual([1, 1]);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('let go of what was taken from a queue that is stopped', async () => {
    const ends: (() => void)[] = [];
    const stopped: string[] = [];
    const guest = new Guest(
      {},
      {
        serve: { first: () => new Promise<void>((resolve) => void ends.push(resolve)) },
        resetQueue: (name, number) => void stopped.push(`${name} ${number}`),
      },
    )
      .negotiate()
      .enableQueue(0)
      .go();
    guest.offer(0);
    guest.kick(0);
    expect(ends).toHaveLength(1);
    guest.set('QueueReady', 0);
    expect(stopped).toEqual(['first 0']);
    ends[0]?.();
    await Promise.resolve();
    expect(guest.used(0)).toBe(0);
    expect(guest.line).toEqual([]);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  // @holds 2.6.1.1.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
  it('reset a queue alone, show 0 in QueueReset and QueueReady then, and let it be made ready again', () => {
    const guest = live(RING_RESET).enableQueue(1);
    guest.set('QueueSel', 0);
    guest.set('QueueReset', 1);
    expect([guest.get('QueueReset'), guest.get('QueueReady')]).toEqual([0, 0]);
    guest.set('QueueSel', 1);
    expect(guest.get('QueueReady')).toBe(1);
    guest.enableQueue(0, 8);
    expect([guest.get('QueueReset'), guest.get('QueueReady')]).toEqual([0, 1]);
    expect(guest.window.core.queues[0]?.size).toBe(8);
    expect(guest.codes).toEqual([]);
    guest.set('QueueReset', 2);
    expect(guest.codes).toEqual(['REGISTER_ACCESS']);
  });

  it('name a QueueReset that was not negotiated', () => {
    const guest = live();
    guest.set('QueueReset', 1);
    expect([guest.get('QueueReady'), guest.get('QueueReset')]).toEqual([1, 0]);
    expect(guest.codes).toEqual(['FEATURES_REFUSED']);
  });

  it('take the queue to look at from the low 16 bits with VIRTIO_F_NOTIFICATION_DATA, else from all', () => {
    const plain = live();
    plain.offer(0);
    plain.kick(0x10000);
    expect([plain.used(0), plain.codes]).toEqual([0, ['NOTIFICATION_UNEXPECTED']]);
    const guest = live(NOTIFICATION_DATA);
    guest.offer(0);
    guest.kick(0x8001_0000);
    expect([guest.used(0), guest.codes]).toEqual([1, []]);
    guest.kick(3);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
  });

  it('reset the device when 0 is written to Status, selections and all', () => {
    const guest = live(RING_RESET);
    guest.set('QueueSel', 1);
    guest.set('SHMSel', 1);
    guest.set('Status', 0);
    const { core, interruptStatus, version, ...selections } = guest.window.save();
    expect(selections).toEqual({
      deviceFeatureSelect: 0,
      driverFeatureSelect: 0,
      queueSelect: 0,
      sharedMemorySelect: 0,
    });
    expect([guest.get('Status'), guest.get('QueueReady'), version, interruptStatus]).toEqual([0, 0, 2, 0]);
    expect(core.status).toBe(0);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('show 0 in QueueReady of every queue and in QueueReset after a reset', () => {
    const guest = live(RING_RESET).enableQueue(1).enableQueue(2);
    guest.set('Status', 0);
    for (const index of [0, 1, 2]) {
      guest.set('QueueSel', index);
      expect([guest.get('QueueReady'), guest.get('QueueReset')]).toEqual([0, 0]);
    }
  });

  it('suspend and resume the device', () => {
    const guest = live(SUSPEND);
    guest.set('Status', 0x0f | status.SUSPEND);
    expect(guest.get('Status')).toBe(0x0b | status.SUSPEND);
    guest.offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(0);
    guest.set('Status', 0x0f | status.SUSPEND);
    expect([guest.get('Status'), guest.used(0)]).toEqual([0x0f, 1]);
  });
});

describe('accesses that fit no register of version 2', () => {
  it('read what their bytes hold, write nothing, and are named', () => {
    const guest = new Guest();
    expect(guest.window.read(0, 1)).toBe(0x76);
    expect(guest.window.read(2, 2)).toBe(0x7472);
    expect(guest.window.read(0x14, 4)).toBe(0);
    expect(guest.window.read(0x18, 4)).toBe(0);
    guest.window.write(0x70, 1, 1);
    guest.window.write(0, 4, 1);
    expect(guest.get('Status')).toBe(0);
    expect(guest.codes).toEqual(Array.from({ length: 6 }, () => 'REGISTER_ACCESS'));
    expect(guest.events.some((event) => event.kind === 'register' && event.register === '?')).toBe(true);
  });

  it.each(['GuestPageSize', 'QueueAlign', 'QueuePFN'])('tell a legacy driver that it writes %s', (name) => {
    const guest = new Guest();
    guest.window.write({ GuestPageSize: 0x28, QueueAlign: 0x3c, QueuePFN: 0x40 }[name] ?? 0, 4, 4096);
    expect(guest.errors[0]?.message).toContain(`${name} is a register of version 1`);
  });
});

describe('the configuration behind the registers', () => {
  it('is accessed by the width of its fields', () => {
    const guest = new Guest();
    expect([guest.config(0, 4), guest.config(4, 4)]).toEqual([0x5566_7788, 0x1122_3344]);
    expect([guest.config(8, 1), guest.config(13, 1), guest.config(14, 2)]).toEqual([1, 6, 0xabcd]);
    guest.setConfig(16, 4, 0x0102_0304);
    expect(guest.config(16, 4)).toBe(0x0102_0304);
    expect(guest.codes).toEqual([]);
    guest.setConfig(0, 4, 1);
    guest.setConfig(16, 2, 1);
    expect(guest.config(8, 2)).toBe(0x0201);
    expect(guest.config(0x80, 4)).toBe(0);
    expect(guest.codes).toEqual(Array.from({ length: 4 }, () => 'REGISTER_ACCESS'));
    expect(guest.config(16, 4)).toBe(0x0102_0304);
  });

  // @holds 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('has another ConfigGeneration after each change', () => {
    const guest = new Guest();
    const seen = [guest.get('ConfigGeneration')];
    expect(guest.get('ConfigGeneration')).toBe(seen[0]);
    for (let change = 0; change < 300; change++) {
      guest.device.updateConfig({ capacity: BigInt(change) });
      seen.push(guest.get('ConfigGeneration'));
    }
    expect(new Set(seen).size).toBe(301);
  });

  it('makes the window larger where 512 bytes do not hold it', () => {
    expect(new Guest().window.size).toBe(0x200);
  });
});

describe('shared memory', () => {
  it('is found by its id', () => {
    const sharedMemory = [
      { id: 0, address: 0x1_2345_6000, length: 0x2_0000_1000 },
      { id: 7, address: 0x1000, length: 0 },
    ];
    const guest = new Guest({ sharedMemory });
    const read = (id: number): number[] => {
      guest.set('SHMSel', id);
      return (['SHMBaseHigh', 'SHMBaseLow', 'SHMLenHigh', 'SHMLenLow'] as const).map((name) =>
        guest.get(name),
      );
    };
    expect(read(0)).toEqual([1, 0x2345_6000, 2, 0x1000]);
    expect(read(7)).toEqual([0, 0x1000, 0, 0]);
    expect(read(1)).toEqual([0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff]);
    expect(read(0xffff_ffff)).toEqual([0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff]);
    expect(guest.codes).toEqual([]);
  });

  it.each([
    [
      'two of one id',
      [
        { id: 1, address: 0, length: 1 },
        { id: 1, address: 4096, length: 1 },
      ],
    ],
    ['an id of more than 32 bits', [{ id: 2 ** 32, address: 0, length: 1 }]],
    ['an address that is none', [{ id: 1, address: -1, length: 1 }]],
    ['an end beyond 2^53', [{ id: 1, address: 2 ** 53 - 1, length: 1 }]],
  ])('is refused: %s', (_what, sharedMemory) => {
    expect(() => new Guest({ sharedMemory })).toThrow(UsageError);
  });
});

describe('one device', () => {
  it('is behind one window at a time', () => {
    const guest = live();
    const other = { memory: guest.memory, setInterruptLine: () => {} };
    expect(() => new MmioDevice(guest.device, other)).toThrow(UsageError);
    guest.window.detach();
    expect(new MmioDevice(guest.device, other).read(8, 4)).toBe(20);
  });
});
