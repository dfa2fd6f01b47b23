/** Our devices under Linux's own drivers over every bus beside modern PCI, which has the longer tests of its own. */
import { type Bus, mmio } from 'virtio-v86';
import { describe, expect, test } from 'vitest';
import { deviceSuite } from './device-suite.ts';

interface BusCase {
  readonly bus: Bus;
  /** What the kernel is told besides. */
  readonly append?: string;
  /** Where Linux has the disk. */
  readonly device: RegExp;
}

describe.each<BusCase>([{ bus: mmio(), device: /LNRO0005:01/ }])(
  'over $bus.name',
  ({ bus, append = '', device }) => {
    const machine = deviceSuite({ bus, append }, 1_000_000);

    test('the disk is on that bus', async () => {
      expect(await machine().text('readlink /sys/bus/virtio/devices/virtio1')).toMatch(device);
    });
  },
);
