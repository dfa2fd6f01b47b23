import { status } from '../../spec/status.ts';
import { legacyLayout } from '../../virtqueue/legacy.ts';
import { transitional } from './legacy-device.ts';
import {
  type LegacyRegister,
  legacyBar,
  legacyConfigOffset,
  legacyPageSize,
  legacyRegisters,
} from './legacy-registers.ts';
import type { PciFunctionOptions } from './options.ts';
import { Guest, type SampleBehaviour } from './pci.fixture.ts';

/** A transitional function, unless told, and a guest that uses the legacy structure, right or wrong. */
export class LegacyGuest extends Guest {
  constructor(options: Partial<PciFunctionOptions> = {}, behaviour: SampleBehaviour = {}) {
    super({ legacy: transitional(), ...options }, behaviour);
    this.enable();
  }

  peek(name: LegacyRegister): number {
    const { offset, width } = legacyRegisters.register[name];
    return this.pciFunction.barRead(legacyBar, offset, width);
  }

  poke(name: LegacyRegister, value: number): void {
    const { offset, width } = legacyRegisters.register[name];
    this.pciFunction.barWrite(legacyBar, offset, width, value);
  }

  /** Bytes of the device's own configuration, each read by itself. */
  config(offset: number, length: number, msix = false): number[] {
    const start = legacyConfigOffset(msix) + offset;
    return Array.from({ length }, (_, i) => this.pciFunction.barRead(legacyBar, start + i, 1));
  }

  /** As legacy drivers begin: reset, ACKNOWLEDGE, DRIVER, features. */
  begin(features = 1): this {
    this.poke('device_status', 0);
    this.poke('device_status', status.ACKNOWLEDGE);
    this.poke('device_status', status.ACKNOWLEDGE | status.DRIVER);
    this.poke('driver_features', features);
    return this;
  }

  /** Places queue `index` at an address that is its own: where the modern guest has its descriptors. */
  placeQueue(index: number): this {
    this.poke('queue_select', index);
    this.poke('queue_address', (0x10000 * (index + 1)) / legacyPageSize);
    return this;
  }

  driverOk(): this {
    this.poke('device_status', status.ACKNOWLEDGE | status.DRIVER | status.DRIVER_OK);
    return this;
  }

  /** Makes descriptor 0, of 64 device-writable bytes, available in a queue of so many descriptors. */
  makeAvailable(index: number, count = 1, size = 64): void {
    const { areas } = legacyLayout(0x10000 * (index + 1), size);
    this.memory.write(areas.descriptor, Uint8Array.of(0, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0));
    this.memory.write(areas.driver + 2, Uint8Array.of(count, 0));
  }

  usedIndex(index: number, size = 64): number {
    const { areas } = legacyLayout(0x10000 * (index + 1), size);
    return this.memory.read(areas.device + 2, 1)[0] ?? 0;
  }
}
