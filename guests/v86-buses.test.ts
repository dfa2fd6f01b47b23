/** Our devices under Linux's own drivers over every bus beside modern PCI, which has the longer tests of its own. */
import { type Bus, mmio, mmioLegacy, pciLegacy, pciTransitional } from 'virtio-v86';
import { describe, expect, test } from 'vitest';
import { deviceSuite } from './device-suite.ts';
import { Machine } from './v86-machine.ts';

interface BusCase {
  readonly bus: Bus;
  /** What the kernel is told besides. */
  readonly append?: string;
  /** Where Linux has the disk. */
  readonly device: string;
  /** The driver has accepted VERSION_1. */
  readonly modern: boolean;
}

describe.each<BusCase>([
  { bus: mmio(), device: 'platform/LNRO0005:01', modern: true },
  { bus: mmioLegacy(), device: 'platform/LNRO0005:01', modern: false },
  {
    bus: pciTransitional(),
    append: 'virtio_pci.force_legacy=1',
    device: 'pci0000:00/0000:00:11.0',
    modern: false,
  },
  { bus: pciLegacy(), device: 'pci0000:00/0000:00:11.0', modern: false },
])('over $bus.name', ({ bus, append = '', device, modern }) => {
  const machine = deviceSuite((devices) => Machine.boot({ ...devices, bus, append }), 1_000_000);

  test('the disk is on that bus, and its driver is of that kind', async () => {
    const disk = '/sys/bus/virtio/devices/virtio1';
    const [path, version1] = (await machine().text(`readlink ${disk}; cut -c33 ${disk}/features`)).split(
      '\n',
    );
    expect(path).toBe(`../../../devices/${device}/virtio1`);
    expect(version1).toBe(modern ? '1' : '0');
  });
});
