import type { Device, Tracer } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import type { BusHost } from '../bus-host.ts';

/** A way in which a guest may reach a device: `pci()`, `pciTransitional()`, `pciLegacy()`, `mmio()` or `mmioLegacy()`. */
export interface Bus {
  readonly name: 'pci' | 'pci-transitional' | 'pci-legacy' | 'mmio' | 'mmio-legacy';
  /** @internal Puts a device into a machine. */
  place(host: BusHost, device: Device, options: PlaceOptions): Placed;
}

/** How a device is to be, on any bus. */
export interface PlaceOptions {
  /**
   * Where on its bus: the PCI device number, 1 to 31, or the number of the MMIO window, 0 to 31. The first free one
   * unless told, on PCI from 16.
   */
  readonly slot?: number;
  /** Sees every register access, notification, interrupt and chain of this device. */
  readonly trace?: Tracer;
  /** Hears of what the guest's driver did wrong, and of handlers that failed. */
  readonly onError?: (error: VirtioError, needsReset: boolean) => void;
}

/** @internal A device in its place. */
export interface Placed {
  readonly slot: number;
  /** The place for people, by which a saved state knows it: 'PCI slot 16'. */
  readonly where: string;
  readonly bus: Bus['name'];
  readonly device: Device;
  /** A reset of the machine. */
  reset(): void;
  /** As JSON; `restore` takes what the same device type has saved on the same bus. */
  save(): unknown;
  restore(state: unknown): void;
  resume(): void;
  /** Takes the device out of the machine. */
  detach(): void;
}
