import { describe, expect, it } from 'vitest';
import { UsageError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { PciFunction } from './device.ts';
import { msix } from './msix-table.ts';
import type { PciFunctionOptions } from './options.ts';
import { Guest, sampleDevice } from './pci.fixture.ts';
import { pciCapability } from './pci-capability.ts';
import { virtio_pci_common_cfg } from './registers.ts';
import { savePciFunction } from './saving.ts';
import { sharedMemory } from './shared-memory.ts';
import { vendorData } from './vendor-data.ts';

describe('the configuration header', () => {
  // @holds 4.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
  // @holds 4.1.1 device: Virtio Transport Options / Virtio Over PCI Bus
  it('names a non-transitional virtio device, its type and its class', () => {
    const guest = new Guest();
    expect(guest.header('vendor_id')).toBe(0x1af4);
    expect(guest.header('device_id')).toBe(0x1040 + 20);
    expect(guest.header('revision_id')).toBeGreaterThanOrEqual(1);
    expect(guest.header('subsystem_id')).toBeGreaterThanOrEqual(0x40);
    expect([guest.header('base_class'), guest.header('subclass')]).toEqual([0x01, 0x80]);
    expect(guest.header('header_type')).toBe(0);
    expect(guest.header('interrupt_pin')).toBe(1);
    expect(guest.header('status') & 0x10).toBe(0x10);
  });

  it('takes writes where PCI has them, and nowhere else', () => {
    const guest = new Guest();
    for (let offset = 0; offset < 256; offset += 4) {
      if (offset !== 0x98) guest.pciFunction.configWrite(offset, 4, 0xffffffff);
    }
    expect(guest.header('vendor_id')).toBe(0x1af4);
    expect(guest.header('device_id')).toBe(0x1054);
    expect(guest.header('command')).toBe(0x0002 | 0x0004 | 0x0040 | 0x0100 | 0x0400);
    expect(guest.header('interrupt_line')).toBe(0xff);
    expect(guest.header('interrupt_pin')).toBe(1);
    expect(guest.header('capabilities_pointer')).toBe(0x40);
  });

  it('reads as all ones behind its end', () => {
    const guest = new Guest();
    expect(guest.pciFunction.configRead(256, 4)).toBe(0xffffffff);
    expect(guest.pciFunction.configRead(254, 4)).toBe(0xffffffff);
    guest.pciFunction.configWrite(4096, 4, 1);
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS', 'REGISTER_ACCESS']);
  });
});

describe('the virtio structure capabilities', () => {
  // @holds 4.1.4.2 device: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
  it('count all of each capability in its cap_len', () => {
    const lengths = new Guest().capabilities().map(({ id, type, length }) => [id === 9 ? type : id, length]);
    expect(lengths.filter(([type]) => type !== 0x11)).toEqual([
      [1, 16],
      [3, 16],
      [4, 16],
      [2, 20],
      [5, 20],
    ]);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  // @holds 4.1.4.4.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability
  // @holds 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  // @holds 4.1.4.6.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Device-specific configuration
  // @holds 4.1.4.9.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability
  it('present each structure, aligned and inside its BAR, apart from the others', () => {
    for (const kind of ['io', 'memory32', 'memory64'] as const) {
      const choice = [{ bar: 0, kind }];
      const layout = { common: choice, isr: choice, device: choice, notify: choice };
      const guest = new Guest({ layout });
      const found = (['COMMON_CFG', 'ISR_CFG', 'DEVICE_CFG', 'NOTIFY_CFG'] as const).map((type) =>
        guest.capability(type),
      );
      const size = guest.pciFunction.bars[0]?.size ?? 0;
      let end = 0;
      for (const { bar, offset, size: length } of found) {
        expect(bar).toBe(0);
        expect(offset % 4).toBe(0);
        expect(offset).toBeGreaterThanOrEqual(end);
        end = offset + length;
        expect(end).toBeLessThanOrEqual(size);
      }
      expect(found[0]?.size).toBe(virtio_pci_common_cfg.size);
      expect(guest.capability('PCI_CFG').length).toBe(20);
    }
  });

  // @holds 4.1.4.2 device: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
  it('offer a structure in several places, the preferred one first', () => {
    const io = { bar: 4, kind: 'io' } as const;
    const memory = { bar: 0, kind: 'memory64' } as const;
    const guest = new Guest({ layout: { notify: [io, memory] } }).enable();
    const places = guest.capabilities().filter(({ id, type }) => id === 9 && type === 2);
    expect(places.map(({ bar }) => bar)).toEqual([4, 0]);
    guest.negotiate().enableQueue(0).go();
    for (const { bar, offset } of places) guest.pciFunction.barWrite(bar, offset, 2, 0);
    expect(guest.events.filter(({ kind }) => kind === 'notify')).toHaveLength(2);
  });

  it('have no device structure for a type without a configuration', () => {
    const guest = new Guest();
    expect(guest.capabilities().some(({ type, id }) => id === 9 && type === 4)).toBe(true);
  });

  // @holds 4.1.4.4.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability
  it('make room for every notification address, whatever the multiplier', () => {
    for (const multiplier of [0, 2, 4, 8, 4096]) {
      const guest = new Guest({
        notifyMultiplier: multiplier,
        queueNotifyOff: (queue) => 3 * queue,
      }).enable();
      const { at, offset, size } = guest.capability('NOTIFY_CFG');
      expect(guest.pciFunction.configRead(at + 16, 4)).toBe(multiplier);
      expect(offset % 4).toBe(0);
      for (const queue of [0, 1, 2]) {
        guest.set('queue_select', queue);
        expect(size).toBeGreaterThanOrEqual(guest.get('queue_notify_off') * multiplier + 4);
      }
    }
  });

  // @holds 4.1.4.4.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability
  it('withhold NOTIFICATION_DATA where a multiplier leaves no room for 32 bits', () => {
    const offers = (multiplier: number): boolean => {
      const guest = new Guest({ notifyMultiplier: multiplier }).enable();
      guest.set('device_feature_select', 1);
      return (guest.get('device_feature') & (1 << 6)) !== 0;
    };
    expect([0, 2, 4, 4096].map(offers)).toEqual([true, false, true, true]);
  });

  // @holds 4.1.4.7.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Shared memory capability
  it('show each shared memory region inside its BAR, by its id', () => {
    const first = sharedMemory(
      7,
      Uint8Array.from({ length: 5000 }, (_, i) => i),
    );
    const bytes = new Uint8Array(100);
    const guest = new Guest({ capabilities: [first, sharedMemory(2, bytes)] }).enable();
    const found = guest.capabilities().filter(({ id, type }) => id === 9 && type === 8);
    const bar = guest.pciFunction.bars.find(({ index }) => index === 4);
    expect(bar).toMatchObject({ kind: 'memory64', size: 16384, enabled: true });
    expect(found.map(({ at }) => guest.pciFunction.configRead(at + 5, 1))).toEqual([7, 2]);
    expect(found.map(({ offset, size }) => [offset, size])).toEqual([
      [0, 5000],
      [8192, 100],
    ]);
    expect(guest.pciFunction.barRead(4, 300, 4)).toBe(0x2f2e2d2c);
    guest.pciFunction.barWrite(4, 8192, 2, 0xbeef);
    expect([...bytes.subarray(0, 2)]).toEqual([0xef, 0xbe]);
    expect(() => new Guest({ capabilities: [first, first] })).toThrow(UsageError);
    expect(() => sharedMemory(256, bytes)).toThrow(UsageError);
  });

  it('let a host map the only shared memory region as it is', () => {
    const bytes = new Uint8Array(4096);
    const guest = new Guest({ capabilities: [sharedMemory(0, bytes)] });
    expect(guest.pciFunction.bars.find(({ index }) => index === 4)).toMatchObject({
      bytes,
      prefetchable: true,
    });
  });

  // @holds 4.1.4.8.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Vendor data capability
  it('carry vendor data in multiples of 4 bytes, to be read without effect, never under the id of virtio', () => {
    const data = Uint8Array.of(1, 2, 3);
    const guest = new Guest({ capabilities: [vendorData(0x1234, data)] });
    const { at, length } = guest.capability('VENDOR_CFG');
    expect(length).toBe(12);
    const read = () => Array.from({ length }, (_, i) => guest.pciFunction.configRead(at + i, 1));
    const before = JSON.stringify(savePciFunction(guest.pciFunction));
    expect(read().slice(2)).toEqual([12, 9, 0x34, 0x12, 1, 2, 3, 0, 0, 0]);
    expect(JSON.stringify(savePciFunction(guest.pciFunction))).toBe(before);
    expect(() => vendorData(0x1af4, data)).toThrow(UsageError);
  });

  it('stand among capabilities that are not virtio’s', () => {
    const data = Uint8Array.of(3, 0, 8, 0, 0, 0);
    const writable = Uint8Array.of(0, 0, 3, 0, 0, 0);
    const guest = new Guest({ capabilities: [pciCapability(1, data, writable)] });
    const at = guest.capabilities().find(({ id }) => id === 1)?.at ?? 0;
    guest.pciFunction.configWrite(at, 4, 0xffffffff);
    guest.pciFunction.configWrite(at + 4, 4, 0xffffffff);
    expect(guest.pciFunction.configRead(at + 4, 4)).toBe(0x0000000b);
    expect(guest.pciFunction.configRead(at, 1)).toBe(1);
  });
});

describe('options that make no function', () => {
  const refused: Record<string, Partial<PciFunctionOptions>> = {
    'an odd multiplier': { notifyMultiplier: 3 },
    'a multiplier of 1': { notifyMultiplier: 1 },
    'too many vectors': { msixVectors: 2049 },
    'revision 0': { revision: 0 },
    'a transitional subsystem id': { subsystemId: 4 },
    'one notif_config_data for two queues': { notifConfigData: () => 5 },
    'two kinds of one BAR': { layout: { isr: [{ bar: 0, kind: 'io' }] } },
    'an MSI-X table behind I/O ports': { layout: { msix: { bar: 4, kind: 'io' } } },
    'a BAR inside a 64-bit BAR': { layout: { isr: [{ bar: 1, kind: 'io' }] } },
    'a 64-bit BAR behind the last': { layout: { isr: [{ bar: 5, kind: 'memory64' }] } },
    'more capabilities than 256 bytes hold': {
      capabilities: [vendorData(1, new Uint8Array(200))],
    },
  };
  for (const [what, options] of Object.entries(refused)) {
    it(`are refused, and the device stays free: ${what}`, () => {
      const memory = GuestMemory.ofSize(4096);
      const device = sampleDevice();
      expect(() => new PciFunction(device, { memory, msix: msix(() => {}), ...options })).toThrow(
        expect.objectContaining({ code: 'BAD_ARGUMENT' }),
      );
      expect(() => new PciFunction(device, { memory })).not.toThrow();
    });
  }

  it('are MSI-X vectors that no host can deliver', () => {
    const memory = GuestMemory.ofSize(4096);
    expect(() => new PciFunction(sampleDevice(), { memory, msixVectors: 2 })).toThrow(UsageError);
  });
});
