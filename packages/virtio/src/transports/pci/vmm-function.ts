import type { Device } from '../../device/device.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import { PciFunction } from './device.ts';
import type { PciFunctionOptions, QueueNotification } from './options.ts';
import { pci_header } from './pci-registers.ts';
import { queueNotifications } from './queue-notifications.ts';
import { startPciFunction, stopPciFunction } from './stopping.ts';

/** How a function is to be, and what its host lends it. */
export interface VmmPciFunctionOptions extends PciFunctionOptions {
  /** What has rings reach memory that this process cannot map: a vfio-user server lends it. */
  readonly remoteRing?: (ring: DeviceRing) => DeviceRing;
}

/**
 * A function for a host that decodes addresses and keeps the MSI-X table itself, as a virtual machine monitor does
 * behind vfio-user: it uses `regionRead` and `regionWrite`, and `msixSignals`.
 */
export class VmmPciFunction extends PciFunction {
  /** @throws {UsageError} BAD_ARGUMENT for options that make no function; BAD_STATE when the device is in use. */
  constructor(device: Device, options: VmmPciFunctionOptions) {
    super(device, options);
    const { core } = this;
    const { remoteRing } = options;
    const ringOf = core.ringOf.bind(core);
    if (remoteRing !== undefined) core.ringOf = (packed) => remoteRing(ringOf(packed));
  }

  /** MSI-X vectors; 0 where there is no MSI-X. */
  get msixVectors(): number {
    return this.parts.msix?.size ?? 0;
  }

  /** 1 (INTA) to 4 (INTD), or 0 for a function without INTx. */
  get interruptPin(): number {
    return this.configRead(pci_header.field.interrupt_pin.offset, 1);
  }

  /** Stops it, as `stopPciFunction` does. */
  stop(): Promise<void> {
    return stopPciFunction(this);
  }

  /** Goes on after `stop`. */
  go(): void {
    startPciFunction(this);
  }

  /** The host of `msixSignals` can signal vectors that it could not before: what is pending for them goes out. */
  vectorsReady(): void {
    this.parts.msix?.deliverPending();
  }

  /**
   * What drivers write to notify a queue, for hosts that can turn such a write into an event. Notifications that tell
   * more (VIRTIO_F_NOTIFICATION_DATA), or tell it otherwise (VIRTIO_F_NOTIF_CONFIG_DATA), are not among them.
   */
  get notifications(): readonly QueueNotification[] {
    const { layout, options } = this.parts;
    return queueNotifications([...this.core.queues.keys()], layout, options);
  }
}
