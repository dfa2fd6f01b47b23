import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError, VirtioError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { reservedFeatures } from '../../spec/features.ts';
import { legacyReservedFeatures } from '../../spec/legacy.ts';
import { status } from '../../spec/status.ts';
import { PciFunction } from './device.ts';
import { LegacyGuest } from './legacy.fixture.ts';
import { legacyOnly, transitional } from './legacy-device.ts';
import { Guest, oldSample, sampleDevice } from './pci.fixture.ts';
import { commandBit, msixControl } from './pci-registers.ts';
import { noVector } from './registers.ts';
import { restorePciFunction, savePciFunction } from './saving.ts';
import { sharedMemory } from './shared-memory.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, DEVICE_NEEDS_RESET } = status;
const { ANY_LAYOUT, UNUSED } = legacyReservedFeatures;
const serving = { serve: { first: () => {} } };

describe('what a function shows of itself to legacy drivers', () => {
  // @holds 4.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
  it.each(['transitional', 'legacy'])('is the ids of a %s device', (kind) => {
    const guest = new LegacyGuest({ legacy: kind === 'legacy' ? legacyOnly() : transitional() });
    expect(guest.header('vendor_id')).toBe(0x1af4);
    expect(guest.header('device_id')).toBe(0x1001);
    expect(guest.header('revision_id')).toBe(0);
    expect(guest.header('subsystem_id')).toBe(2);
    expect(guest.header('bar0') & 3).toBe(1);
    expect(guest.capabilities().filter(({ id }) => id === 9)).toHaveLength(kind === 'legacy' ? 0 : 5);
    expect(guest.pciFunction.bars[0]).toMatchObject({ index: 0, kind: 'io', size: 64 });
  });

  it('is nothing for types that legacy drivers do not know, and for ids that contradict it', () => {
    const memory = GuestMemory.ofSize(2 ** 16);
    const device = sampleDevice();
    expect(() => new PciFunction(device, { memory, legacy: transitional() })).toThrow(/no Transitional PCI/);
    expect(new PciFunction(device, { memory }).core.status).toBe(0);
    for (const wrong of [{ revision: 1 }, { subsystemId: 0x40 }]) {
      const old = sampleDevice({}, oldSample);
      expect(() => new PciFunction(old, { memory, legacy: legacyOnly(), ...wrong })).toThrow(UsageError);
    }
    const capabilities = [sharedMemory(1, new Uint8Array(4096))];
    const old = sampleDevice({}, oldSample);
    expect(() => new PciFunction(old, { memory, legacy: legacyOnly(), capabilities })).toThrow(
      /virtio_pci_cap64/,
    );
  });

  it('leaves the modern structures where no legacy driver looks', () => {
    const guest = new LegacyGuest({ capabilities: [sharedMemory(1, new Uint8Array(4096))] });
    expect(guest.capability('COMMON_CFG').bar).toBe(1);
    expect(guest.pciFunction.bars.map(({ index, kind }) => [index, kind])).toEqual([
      [0, 'io'],
      [1, 'memory32'],
      [2, 'memory64'],
      [4, 'memory64'],
    ]);
    expect(guest.negotiate().enableQueue(0).go().get('device_status')).toBe(15);
    expect(guest.errors).toEqual([]);
  });
});

describe('the legacy registers', () => {
  it('show 32 bits of features, and take 32', () => {
    const guest = new LegacyGuest();
    expect(guest.get('device_feature')).toBe(
      guest.device.type.featureSet(['LOW', 'INDIRECT_DESC', 'EVENT_IDX']).word(0),
    );
    const old = [0, ANY_LAYOUT, reservedFeatures.INDIRECT_DESC, reservedFeatures.EVENT_IDX, UNUSED];
    expect(guest.peek('device_features')).toBe(old.reduce((all, bit) => all + 2 ** bit, 0));
    guest.begin(2 ** ANY_LAYOUT + 1);
    expect(guest.peek('driver_features')).toBe(2 ** ANY_LAYOUT + 1);
    guest.driverOk();
    expect(guest.pciFunction.core.driverFeatures.bits()).toEqual([0, ANY_LAYOUT]);
    guest.poke('driver_features', 0);
    expect(guest.codes).toEqual(['STATUS_SEQUENCE']);
  });

  it('place a queue by its page, and take it away by 0', () => {
    const guest = new LegacyGuest({}, serving).begin();
    expect(guest.peek('queue_size')).toBe(64);
    guest.placeQueue(0).driverOk();
    expect(guest.peek('queue_address')).toBe(0x10);
    guest.makeAvailable(0);
    guest.poke('queue_notify', 0);
    expect(guest.usedIndex(0)).toBe(1);
    guest.poke('queue_address', 0);
    expect(guest.peek('queue_address')).toBe(0);
    expect(guest.errors).toEqual([]);
    guest.poke('queue_notify', 0);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
    guest.placeQueue(0);
    guest.makeAvailable(0, 2);
    guest.poke('queue_notify', 0);
    expect(guest.usedIndex(0)).toBe(2);
  });

  it('show a power of two as the size of any queue, which cannot be written', () => {
    const guest = new LegacyGuest().begin();
    guest.poke('queue_select', 1);
    expect(guest.peek('queue_size')).toBe(64);
    guest.poke('queue_size', 8);
    expect(guest.peek('queue_size')).toBe(64);
    guest.poke('queue_select', 3);
    expect(guest.peek('queue_size')).toBe(0);
    guest.poke('queue_select', 0xffff);
    expect(guest.peek('queue_size')).toBe(0);
    expect(guest.peek('queue_select')).toBe(0xffff);
    expect(guest.codes).toEqual(['REGISTER_ACCESS']);
  });

  it('refuse a place for a queue that does not exist or has one, and stop at one outside memory', () => {
    const guest = new LegacyGuest({}, serving).begin();
    guest.placeQueue(7);
    guest.placeQueue(0);
    guest.poke('queue_address', 0x77);
    expect(guest.peek('queue_address')).toBe(0x10);
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS']);
    guest.poke('queue_address', 0);
    guest.poke('queue_address', 0xffff_ffff);
    expect(guest.peek('queue_address')).toBe(0xffff_ffff);
    guest.driverOk();
    expect(guest.peek('device_status') & DEVICE_NEEDS_RESET).not.toBe(0);
    guest.begin().placeQueue(0).driverOk();
    expect(guest.peek('device_status')).toBe(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  });

  it('let a queue be used before DRIVER_OK', () => {
    const guest = new LegacyGuest({}, serving).begin().placeQueue(0);
    guest.makeAvailable(0);
    guest.poke('queue_notify', 0);
    expect(guest.usedIndex(0)).toBe(1);
    expect(guest.errors).toEqual([]);
    guest.poke('queue_notify', 9);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
  });

  // @holds 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  it('share one ISR status with the modern structure, which a read of either clears', () => {
    const guest = new LegacyGuest({}, serving).begin().placeQueue(0).driverOk();
    guest.makeAvailable(0);
    guest.poke('queue_notify', 0);
    expect(guest.level).toBe(true);
    expect(guest.peek('isr_status')).toBe(1);
    expect(guest.level).toBe(false);
    expect(guest.isr()).toBe(0);
    guest.device.updateConfig({ flag: 3 });
    expect(guest.level).toBe(true);
    expect(guest.isr()).toBe(2);
    expect(guest.peek('isr_status')).toBe(0);
    expect(guest.level).toBe(false);
  });

  // @holds 4.1.5.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('have vectors while MSI-X is enabled, and the configuration moves behind them', () => {
    const guest = new LegacyGuest({ acceptVector: (vector) => vector !== 2 }, serving);
    expect(guest.config(8, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    guest.msixControl(msixControl.ENABLE);
    expect(guest.config(8, 6, true)).toEqual([1, 2, 3, 4, 5, 6]);
    guest.begin().placeQueue(0);
    expect(guest.peek('config_msix_vector')).toBe(noVector);
    expect(guest.peek('queue_msix_vector')).toBe(noVector);
    guest.poke('config_msix_vector', 1);
    guest.poke('queue_msix_vector', 3);
    expect([guest.peek('config_msix_vector'), guest.peek('queue_msix_vector')]).toEqual([1, 3]);
    for (const refused of [2, 4, 0x800, noVector]) {
      guest.poke('queue_msix_vector', refused);
      expect(guest.peek('queue_msix_vector')).toBe(noVector);
    }
    guest.poke('queue_msix_vector', 3);
    guest.driverOk();
    for (const vector of [1, 3]) guest.programVector(vector);
    guest.makeAvailable(0);
    guest.poke('queue_notify', 0);
    guest.device.updateConfig({ flag: 3 });
    expect(guest.messages.map(({ data }) => data)).toEqual([3, 1]);
    expect(guest.level).toBe(false);
    guest.poke('device_status', 0);
    expect(guest.peek('config_msix_vector')).toBe(noVector);
    guest.msixControl(0);
    expect(guest.config(8, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(guest.errors).toEqual([]);
  });

  it.each([1, 2, 4] as const)('give the same configuration to accesses of %i bytes anywhere', (width) => {
    const guest = new LegacyGuest();
    const whole = Array.from(guest.device.type.config.encode(guest.device.config));
    for (let at = 0; at + width <= whole.length; at++) {
      const value = guest.pciFunction.barRead(0, 20 + at, width);
      const bytes = whole.slice(at, at + width);
      expect(value).toBe(bytes.reduce((sum, byte, i) => sum + byte * 2 ** (8 * i), 0));
    }
    expect(guest.errors).toEqual([]);
  });

  it('take writes of any width to the configuration, each field its part', () => {
    const written: unknown[] = [];
    const guest = new LegacyGuest({}, { writeConfig: (field, value) => void written.push([field, value]) });
    // The knob is at 16, le32.
    for (let i = 0; i < 4; i++) guest.pciFunction.barWrite(0, 20 + 16 + i, 1, i + 1);
    expect(guest.device.config.knob).toBe(0x04030201);
    guest.pciFunction.barWrite(0, 20 + 17, 2, 0xbbaa);
    expect(guest.device.config.knob).toBe(0x04bbaa01);
    expect(guest.errors).toEqual([]);
    // Half of it, and half of what is before it and not the driver's.
    guest.pciFunction.barWrite(0, 20 + 14, 4, 0x1111_2222);
    expect(guest.device.config).toMatchObject({ knob: 0x04bb1111, short: 0xabcd });
    expect(guest.codes).toEqual(['REGISTER_ACCESS']);
    expect(written).toHaveLength(6);
  });

  it('are little-endian for every guest; the configuration is as the guest is', () => {
    const guest = new LegacyGuest({ legacy: transitional({ endian: 'big' }) });
    expect(guest.config(0, 8)).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    expect(guest.config(14, 2)).toEqual([0xab, 0xcd]);
    expect(guest.begin().peek('queue_size')).toBe(64);
  });

  it('name accesses that fit nothing', () => {
    const guest = new LegacyGuest();
    const { pciFunction } = guest;
    expect(pciFunction.barRead(0, 12, 4)).toBe(64);
    pciFunction.barWrite(0, 18, 2, 0x0101);
    expect(guest.peek('device_status')).toBe(0);
    const end = 20 + guest.device.type.config.size;
    expect(pciFunction.barRead(0, end, 1)).toBe(0);
    expect(pciFunction.barRead(0, end - 1, 2)).toBe(9);
    pciFunction.barWrite(0, end - 1, 4, 1);
    expect(pciFunction.barRead(0, 63, 1)).toBe(0);
    guest.poke('isr_status', 1);
    expect(new Set(guest.codes)).toEqual(new Set(['REGISTER_ACCESS']));
    expect(guest.codes).toHaveLength(7);
    const names = guest.events.flatMap((event) =>
      event.kind === 'register' ? [`${event.block}.${event.register}`] : [],
    );
    expect(names).toContain('legacy.device_status');
    expect(names).toContain('config.flag');
  });

  it('set Bus Master for a driver that leaves it off, and say so', () => {
    const guest = new LegacyGuest({}, serving);
    guest.command(commandBit.IO_SPACE);
    guest.begin().placeQueue(0).driverOk();
    guest.makeAvailable(0);
    guest.poke('queue_notify', 0);
    expect(guest.usedIndex(0)).toBe(1);
    expect(guest.header('command') & commandBit.BUS_MASTER).not.toBe(0);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
  });
});

describe('a transitional function', () => {
  it('serves a legacy driver, then a modern one, then a legacy one, with a reset between', () => {
    const guest = new LegacyGuest({}, serving);
    for (let round = 0; round < 2; round++) {
      guest.memory.write(0x10000, new Uint8Array(0x4000));
      guest.begin().placeQueue(0).driverOk();
      expect(guest.pciFunction.core.legacy).toBeDefined();
      guest.makeAvailable(0);
      guest.poke('queue_notify', 0);
      expect(guest.usedIndex(0)).toBe(1);
      guest.memory.write(0x10000, new Uint8Array(0x4000));
      guest.negotiate().enableQueue(0).go();
      expect(guest.pciFunction.core.legacy).toBeUndefined();
      guest.offer(0);
      guest.kick(0);
      expect(guest.used(0)).toBe(1);
    }
    expect(guest.errors).toEqual([]);
  });

  it('lets no legacy access disturb a modern driver, but for a reset', () => {
    const guest = new LegacyGuest({}, serving);
    guest.negotiate().enableQueue(0).go();
    guest.poke('queue_select', 1);
    guest.poke('queue_address', 5);
    guest.poke('device_status', ACKNOWLEDGE);
    guest.poke('driver_features', 0);
    guest.pciFunction.barWrite(0, 20 + 16, 4, 7);
    expect(guest.get('device_status')).toBe(15);
    expect(guest.get('queue_desc_lo')).toBe(0x10000);
    expect(guest.device.config.knob).toBe(0);
    expect(guest.codes).toEqual([...Array(5)].map(() => 'REGISTER_ACCESS'));
    expect(guest.peek('device_status')).toBe(15);
    guest.poke('device_status', 0);
    expect(guest.get('device_status')).toBe(0);
    expect(guest.codes).toHaveLength(5);
  });

  it('goes on from a saved state in the middle of legacy use', () => {
    const guest = new LegacyGuest({}, serving);
    guest.msixControl(msixControl.ENABLE);
    guest.begin().placeQueue(0);
    guest.poke('queue_msix_vector', 1);
    guest.poke('queue_select', 2);
    guest.driverOk();
    guest.makeAvailable(0);
    const state = JSON.parse(JSON.stringify(savePciFunction(guest.pciFunction)));
    const other = new LegacyGuest({}, serving);
    other.memory.write(0, guest.memory.read(0, guest.memory.regions[0]!.length));
    restorePciFunction(other.pciFunction, state);
    other.pciFunction.resume();
    expect(other.usedIndex(0)).toBe(1);
    expect(other.peek('queue_select')).toBe(2);
    expect(other.pciFunction.core.legacy).toBeDefined();
    other.poke('queue_select', 0);
    expect(other.peek('queue_msix_vector')).toBe(1);
    expect(other.peek('queue_address')).toBe(0x10);
    const modern = new Guest();
    expect(() => restorePciFunction(modern.pciFunction, state)).toThrow(UsageError);
  });
});

const anyAccess = fc.record({
  write: fc.boolean(),
  bar: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.constant(1)),
  offset: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 64 }) },
    fc.constantFrom(-1, 0.5, 2 ** 32, Number.NaN),
  ),
  width: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(1, 2, 4) }, fc.constantFrom(0, 3, 8, -1)),
  value: fc.oneof(
    fc.integer({ min: 0, max: 32 }),
    fc.integer({ min: 0, max: 0xffff_ffff }),
    fc.constantFrom(-1, 2 ** 40),
  ),
});
const registerWrite = fc.record({
  name: fc.constantFrom(
    'queue_address',
    'queue_select',
    'queue_notify',
    'device_status',
    'driver_features',
    'queue_msix_vector',
  ),
  value: fc.oneof(fc.constantFrom(0, 1, 2, 3, 7, 16, 32, 0xff), fc.integer({ min: 0, max: 0xffff_ffff })),
} as const);

describe('any access at all to the legacy structure', () => {
  it.each([transitional, legacyOnly])(
    'is answered with a number of its width by a device that is %o',
    (legacy) => {
      fc.assert(
        fc.property(
          fc.array(fc.oneof(anyAccess, registerWrite), { maxLength: 60 }),
          fc.boolean(),
          (accesses, msix) => {
            const guest = new LegacyGuest({ legacy: legacy() }, serving);
            if (msix) guest.msixControl(msixControl.ENABLE);
            const { pciFunction } = guest;
            for (const access of accesses) {
              if ('name' in access) guest.poke(access.name, access.value);
              else if (access.write)
                pciFunction.barWrite(access.bar, access.offset, access.width, access.value);
              else {
                const read = pciFunction.barRead(access.bar, access.offset, access.width);
                expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true);
                if (access.width === 1) expect(read).toBeLessThanOrEqual(0xff);
              }
            }
            for (const error of guest.errors) expect(error).toBeInstanceOf(VirtioError);
            const state = JSON.parse(JSON.stringify(savePciFunction(pciFunction)));
            const other = new LegacyGuest({ legacy: legacy() }, serving);
            restorePciFunction(other.pciFunction, state);
            guest.poke('device_status', 0);
            expect(guest.peek('device_status')).toBe(0);
          },
        ),
      );
    },
  );
});
