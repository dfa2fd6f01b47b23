import type { Device } from 'virtio/device';
import type { Bus, Placed, PlaceOptions } from './buses/bus.ts';
import { pci } from './buses/pci.ts';
import { type V86Cpu, type V86Emulator, whenReady } from './emulator.ts';
import { V86Host } from './host.ts';

/** How a device is to be attached. */
export interface AttachOptions extends PlaceOptions {
  /** How the guest reaches it; `pci()` unless told. */
  readonly bus?: Bus;
}

/** A device in an emulator's machine, or on its way there. */
export interface Attachment {
  /** Settles when the device is on its bus: at once, or when the emulator has loaded. */
  readonly ready: Promise<void>;
  /** Its PCI device number, or the number of its MMIO window; `undefined` until `ready`. */
  readonly slot: number | undefined;
  /** Takes the device off its bus. The guest is not asked: detach what it has let go of. */
  detach(): void;
}

/**
 * Puts a device on a bus of a v86 emulator, in Node or in a page. Attach before the guest starts to look
 * at its bus: right after `new V86(…)`, which loads in the background, is always early enough. A guest that
 * runs already finds a PCI device when it scans again (Linux: `echo 1 > /sys/bus/pci/rescan`).
 *
 * The device's state goes into `save_state()` and comes back by `restore_state()`, if the same devices are
 * attached in the same slots; a reset of the machine resets the device.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is no v86, or one without the members this needs; for a slot that
 * is taken; for a type that cannot be on that bus. BAD_STATE for a device that is attached already. Before the
 * emulator has loaded, `ready` rejects instead.
 */
export function attach(emulator: V86Emulator, device: Device, options: AttachOptions = {}): Attachment {
  let placed: Placed | undefined;
  let host: V86Host | undefined;
  let resolve = (): void => {};
  let reject: (error: unknown) => void = () => {};
  const ready = new Promise<void>((...settle) => {
    [resolve, reject] = settle;
  });
  const put = (cpu: V86Cpu): void => {
    host = V86Host.of(cpu);
    placed = host.attach(options.bus ?? pci(), device, options);
    resolve();
  };
  const cancel = whenReady(emulator, put, reject);

  return {
    ready,
    get slot() {
      return placed?.slot;
    },
    detach() {
      cancel();
      if (placed !== undefined) host?.detach(placed);
      placed = undefined;
    },
  };
}
