import type { Device } from 'virtio/device';
import { type V86Cpu, type V86Emulator, whenReady } from './emulator.ts';
import { type AttachOptions, V86Host } from './host.ts';

/** A device on an emulator's PCI bus, or on its way there. */
export interface Attachment {
  /** Settles when the device is on the bus: at once, or when the emulator has loaded. */
  readonly ready: Promise<void>;
  /** Its PCI device number; `undefined` until `ready`. */
  readonly slot: number | undefined;
  /** Takes the device off the bus. The guest is not asked: detach what it has let go of. */
  detach(): void;
}

/**
 * Puts a device on the PCI bus of a v86 emulator, in Node or in a page. Attach before the guest starts to look
 * at its bus: right after `new V86(…)`, which loads in the background, is always early enough. A guest that
 * runs already finds the device when it scans again (Linux: `echo 1 > /sys/bus/pci/rescan`).
 *
 * The device's state goes into `save_state()` and comes back by `restore_state()`, if the same devices are
 * attached in the same slots; a reset of the machine resets the device.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is no v86, or one without the members this needs; for a slot that
 * is taken. BAD_STATE for a device that is attached already. Before the emulator has loaded, `ready` rejects instead.
 */
export function attach(emulator: V86Emulator, device: Device, options: AttachOptions = {}): Attachment {
  let slot: number | undefined;
  let host: V86Host | undefined;
  let resolve = (): void => {};
  let reject: (error: unknown) => void = () => {};
  const ready = new Promise<void>((...settle) => {
    [resolve, reject] = settle;
  });
  const put = (cpu: V86Cpu): void => {
    host = V86Host.of(cpu);
    slot = host.attach(device, options);
    resolve();
  };
  const cancel = whenReady(emulator, put, reject);

  return {
    ready,
    get slot() {
      return slot;
    },
    detach() {
      cancel();
      if (slot !== undefined) host?.detach(slot);
      slot = undefined;
    },
  };
}
