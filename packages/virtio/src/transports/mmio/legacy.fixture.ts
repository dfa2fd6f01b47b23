import { status } from '../../spec/status.ts';
import type { SampleBehaviour } from '../pci/pci.fixture.ts';
import { LegacyMmioDevice, type LegacyMmioDeviceOptions } from './legacy-device.ts';
import { type LegacyMmioRegister, legacyMmioRegisters } from './legacy-registers.ts';
import { WindowGuest } from './mmio.fixture.ts';

/** A guest of version 1. */
export class LegacyGuest extends WindowGuest<LegacyMmioRegister, LegacyMmioDevice> {
  readonly window: LegacyMmioDevice;

  constructor(options: Partial<LegacyMmioDeviceOptions> = {}, behaviour: SampleBehaviour = {}) {
    super(legacyMmioRegisters, behaviour);
    this.window = new LegacyMmioDevice(this.device, { ...this.host, ...options });
  }

  /** Goes through initialisation as Linux does it, with the features whose bits are given. */
  negotiate(...bits: number[]): this {
    this.set('GuestPageSize', 4096);
    this.set('Status', 0);
    this.set('Status', status.ACKNOWLEDGE);
    this.set('Status', status.ACKNOWLEDGE | status.DRIVER);
    this.set('GuestFeaturesSel', 1);
    this.set('GuestFeatures', 0);
    this.set('GuestFeaturesSel', 0);
    this.set('GuestFeatures', bits.reduce((all, bit) => all | (1 << bit), 0) >>> 0);
    return this;
  }

  /** Places queue `index` at a page that is its own, and so puts it into use. */
  enableQueue(index: number, size = 16): this {
    this.set('QueueSel', index);
    this.set('QueueSize', size);
    this.set('QueueAlign', 4096);
    this.set('QueuePFN', 0x10 * (index + 1));
    return this;
  }

  go(): this {
    this.set('Status', status.ACKNOWLEDGE | status.DRIVER | status.DRIVER_OK);
    return this;
  }

  protected override available(index: number): number {
    return 0x10000 * (index + 1) + 16 * 16;
  }

  protected override usedRing(index: number): number {
    return 0x10000 * (index + 1) + 0x1000;
  }
}
