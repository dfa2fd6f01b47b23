import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError, VirtioError } from '../../errors.ts';
import { reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import { LegacyGuest } from './legacy.fixture.ts';
import { legacyMmioRegisters } from './legacy-registers.ts';
import { interruptBit } from './registers.ts';

const serving = { serve: { first: () => {} } };
const live = (): LegacyGuest => new LegacyGuest({}, serving).negotiate().enableQueue(0).go();

describe('the registers of version 1', () => {
  it('say what is there', () => {
    const guest = new LegacyGuest({ vendorId: 7 });
    const names = ['MagicValue', 'Version', 'DeviceID', 'VendorID'] as const;
    expect(names.map((name) => guest.get(name))).toEqual([0x74726976, 1, 20, 7]);
  });

  it('stand where the specification has them', () => {
    const at = legacyMmioRegisters.registers.map(({ name, offset }) => `${offset.toString(16)} ${name}`);
    expect(at).toEqual([
      '0 MagicValue',
      '4 Version',
      '8 DeviceID',
      'c VendorID',
      '10 HostFeatures',
      '14 HostFeaturesSel',
      '20 GuestFeatures',
      '24 GuestFeaturesSel',
      '28 GuestPageSize',
      '30 QueueSel',
      '34 QueueSizeMax',
      '38 QueueSize',
      '3c QueueAlign',
      '40 QueuePFN',
      '50 QueueNotify',
      '60 InterruptStatus',
      '64 InterruptACK',
      '70 Status',
    ]);
  });

  it('offer 32 features, and no more', () => {
    const guest = new LegacyGuest();
    const words = [0, 1, 2, 3].map((word) => {
      guest.set('HostFeaturesSel', word);
      return guest.get('HostFeatures');
    });
    expect(words.slice(1)).toEqual([0, 0, 0]);
    expect((words[0] ?? 0) & 1).toBe(1);
    expect((words[0] ?? 0) & (1 << reservedFeatures.EVENT_IDX)).not.toBe(0);
  });

  it('let a driver use the device without FEATURES_OK', () => {
    const guest = live();
    guest.offer(0);
    guest.kick(0);
    expect([guest.used(0), guest.acknowledge(), guest.codes]).toEqual([1, interruptBit.QUEUE, []]);
    expect(guest.get('Status')).toBe(status.ACKNOWLEDGE | status.DRIVER | status.DRIVER_OK);
  });

  it('tell a driver that sets FEATURES_OK that there is none', () => {
    const guest = new LegacyGuest().negotiate();
    guest.set('Status', status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK);
    expect(guest.get('Status') & status.FEATURES_OK).toBe(0);
    expect(guest.codes).toEqual(['STATUS_SEQUENCE']);
  });

  it('tell a modern driver which of its registers is none', () => {
    const guest = new LegacyGuest();
    guest.window.write(0x44, 4, 1);
    guest.window.read(0xfc, 4);
    expect(guest.errors.map(({ message }) => /(\w+) is a register of version 2/.exec(message)?.[1])).toEqual([
      'QueueReady',
      'ConfigGeneration',
    ]);
  });
});

describe('a queue of version 1', () => {
  it('is placed by its page, and taken away by page 0', () => {
    const guest = live();
    expect(guest.get('QueuePFN')).toBe(0x10);
    expect(guest.window.core.queues[0]).toMatchObject({
      size: 16,
      descriptor: 0x10000,
      driver: 0x10100,
      device: 0x11000,
    });
    guest.set('QueuePFN', 0);
    expect([guest.get('QueuePFN'), guest.window.core.queues[0]?.enabled]).toEqual([0, false]);
    guest.offer(0);
    guest.kick(0);
    expect([guest.used(0), guest.codes]).toEqual([0, ['NOTIFICATION_UNEXPECTED']]);
    guest.memory.write(0x10000, new Uint8Array(0x3000));
    guest.enableQueue(0).offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(1);
  });

  it('lies as its page size and its alignment say', () => {
    const guest = new LegacyGuest().negotiate();
    guest.set('GuestPageSize', 512);
    guest.set('QueueSel', 1);
    guest.set('QueueSize', 8);
    guest.set('QueueAlign', 64);
    guest.set('QueuePFN', 0x81);
    expect(guest.window.core.queues[1]).toMatchObject({
      enabled: true,
      descriptor: 0x10200,
      driver: 0x10280,
      device: 0x102c0,
    });
    expect([guest.get('QueuePFN'), guest.codes]).toEqual([0x81, []]);
  });

  it('is not placed before the page size is known', () => {
    const guest = new LegacyGuest();
    guest.enableQueue(0);
    expect([guest.get('QueuePFN'), guest.codes]).toEqual([0, ['REGISTER_ACCESS']]);
    expect(guest.errors[0]?.message).toContain('before GuestPageSize');
  });

  it.each([0, 2, 3, 4095, 0xffff_ffff])('is not placed with QueueAlign %i', (queueAlign) => {
    const guest = new LegacyGuest().negotiate();
    guest.set('QueueAlign', queueAlign);
    guest.set('QueuePFN', 0x10);
    expect([guest.get('QueuePFN'), guest.codes]).toEqual([0, ['QUEUE_MISALIGNED']]);
    guest.set('QueuePFN', 0);
    expect(guest.codes).toHaveLength(1);
  });

  it('is not placed at a page that its alignment forbids', () => {
    const guest = new LegacyGuest().negotiate();
    guest.set('QueueAlign', 8192);
    guest.set('QueuePFN', 0x11);
    expect([guest.get('QueuePFN'), guest.codes]).toEqual([0, ['QUEUE_MISALIGNED']]);
    guest.set('QueuePFN', 0x12);
    expect(guest.get('QueuePFN')).toBe(0x12);
  });

  it('outside memory makes the device need a reset, when it is used', () => {
    const guest = new LegacyGuest({}, serving).negotiate();
    guest.set('QueueAlign', 4096);
    guest.set('QueuePFN', 0xffff_ffff);
    guest.go();
    expect(guest.codes).toEqual(['ADDRESS_OUT_OF_BOUNDS']);
    expect(guest.get('Status') & status.DEVICE_NEEDS_RESET).not.toBe(0);
    guest.memory.write(0x10000, new Uint8Array(0x3000));
    guest.negotiate().enableQueue(0).go().offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(1);
  });

  it('keeps its set-up while it is in use', () => {
    const guest = live();
    guest.set('QueueSize', 8);
    guest.set('QueueAlign', 8);
    guest.set('QueuePFN', 0x20);
    guest.set('GuestPageSize', 512);
    expect(guest.get('QueueSizeMax')).toBe(64);
    expect(guest.codes).toEqual(Array.from({ length: 5 }, () => 'REGISTER_ACCESS'));
    expect([guest.get('QueuePFN'), guest.window.core.queues[0]?.size]).toEqual([0x10, 16]);
  });

  it('that is none takes nothing', () => {
    const guest = new LegacyGuest().negotiate();
    for (const register of ['QueueSize', 'QueueAlign', 'QueuePFN'] as const) {
      guest.set('QueueSel', 9);
      guest.set(register, 16);
    }
    expect(guest.get('QueueSizeMax')).toBe(0);
    expect(guest.codes).toContain('REGISTER_ACCESS');
    expect(guest.window.core.queues.some(({ enabled }) => enabled)).toBe(false);
  });

  it.each([0, 3, 4097])('has no pages of %i bytes', (size) => {
    const guest = new LegacyGuest();
    guest.set('GuestPageSize', size);
    expect(guest.codes).toEqual(['REGISTER_ACCESS']);
    expect(guest.window.save().guestPageSize).toBe(0);
  });
});

describe('a reset of version 1', () => {
  it('by its driver takes the queues away and leaves the page size, which drivers tell first', () => {
    const guest = live();
    guest.set('Status', 0);
    guest.set('QueueSel', 0);
    expect([guest.get('QueuePFN'), guest.get('Status'), guest.level]).toEqual([0, 0, false]);
    expect(guest.window.save()).toMatchObject({ guestPageSize: 4096, queueAligns: [0, 0, 0] });
  });

  it('by its host takes the page size too', () => {
    const guest = live();
    guest.window.reset();
    expect(guest.window.save()).toMatchObject({ guestPageSize: 0, queueAligns: [0, 0, 0] });
  });
});

describe('the configuration of version 1', () => {
  it('is accessed in any width, since drivers read it byte by byte', () => {
    const guest = new LegacyGuest();
    const bytes = Array.from({ length: 8 }, (_, at) => guest.config(at, 1));
    expect(bytes).toEqual([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    expect([guest.config(0, 4), guest.config(14, 2)]).toEqual([0x5566_7788, 0xabcd]);
    for (let at = 0; at < 4; at++) guest.setConfig(16 + at, 1, at + 1);
    expect([guest.config(16, 4), guest.codes]).toEqual([0x0403_0201, []]);
  });

  it("is in the guest's order of bytes", () => {
    const guest = new LegacyGuest({ endian: 'big' });
    const bytes = Array.from({ length: 8 }, (_, at) => guest.config(at, 1));
    expect(bytes).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
  });
});

describe('a saved device of version 1', () => {
  it('comes back with its pages and its alignments, and raises its line again', () => {
    const guest = live();
    guest.set('QueueSel', 1);
    guest.set('QueueAlign', 64);
    guest.device.updateConfig({ short: 1 });
    const after = new LegacyGuest({}, serving);
    after.memory.write(0, guest.memory.read(0, 2 ** 20));
    after.window.restore(JSON.parse(JSON.stringify(guest.window.save())));
    expect(after.line).toEqual([]);
    after.window.resume();
    expect([after.level, after.window.save().queueAligns]).toEqual([true, [4096, 64, 0]]);
    after.set('QueueSel', 0);
    expect(after.get('QueuePFN')).toBe(0x10);
    after.offer(0);
    after.kick(0);
    expect(after.used(0)).toBe(1);
  });

  it('does not fit a device of version 2', () => {
    const guest = live();
    expect(() => guest.window.restore({ ...guest.window.save(), version: 2 })).toThrow(UsageError);
  });
});

it('any access at all throws nothing, and a reset brings the device back', () => {
  const anyAccess = fc.record({
    write: fc.boolean(),
    offset: fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 0, max: 0x4f }).map((register) => register * 4) },
      fc.integer({ min: 0, max: 0x210 }),
      fc.constantFrom(-1, 0.5, 2 ** 53, Number.NaN),
    ),
    width: fc.constantFrom(4, 4, 4, 4, 1, 2, 0, 3, 8, -1),
    value: fc.oneof(
      fc.constantFrom(0, 1, 2, 4, 7, 16, 64, 4096, 0x8000_0000, 0xffff_ffff, -1, 2 ** 40),
      fc.integer({ min: 0, max: 0xffff_ffff }),
    ),
  });
  fc.assert(
    fc.property(fc.array(anyAccess, { maxLength: 60 }), fc.boolean(), (accesses, begun) => {
      const guest = begun ? live() : new LegacyGuest({}, serving);
      for (const { write, offset, width, value } of accesses) {
        if (write) guest.window.write(offset, width, value);
        else {
          const read = guest.window.read(offset, width);
          expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true);
        }
      }
      expect(guest.errors.every((error) => error instanceof VirtioError)).toBe(true);
      const saved = guest.window.save();
      const other = new LegacyGuest({}, serving);
      other.window.restore(JSON.parse(JSON.stringify(saved)));
      other.window.resume();
      guest.window.reset();
      guest.negotiate().enableQueue(0).go();
      guest.memory.write(0x10000, new Uint8Array(0x3000));
      guest.offer(0);
      guest.kick(0);
      expect(guest.used(0)).toBe(1);
    }),
    { numRuns: 200 },
  );
}, 20_000);
