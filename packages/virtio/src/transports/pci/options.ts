import type { QueuePolling } from '../../device/polling.ts';
import type { DeviceState } from '../../device/state.ts';
import type { Tracing } from '../../device/tracing.ts';
import type { VirtioError } from '../../errors.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import type { InOrder } from '../../virtqueue/taken-order.ts';
import type { PciBar } from './bar.ts';
import type { AddedCapability, PciLayout } from './capability-room.ts';
import type { PciLegacySupport } from './legacy-device.ts';
import type { MsixSupport } from './msix-table.ts';

/** What a host lends to a function. A callback must not throw; it may access the function. */
export interface PciHost {
  /** The guest's memory, as this function may see it. */
  readonly memory: GuestMemory;
  /** Drives INTx, which is a level: called when the level changes, and with the present one by `resume`. */
  readonly setInterruptLine?: (level: boolean) => void;
  /** Packed virtqueues: `packedRing` of `virtio/virtqueue`. Without it VIRTIO_F_RING_PACKED is not offered. */
  readonly packedRing?: DeviceRing;
  /** What holds early completions back: `inOrder` of `virtio/virtqueue`. Without it VIRTIO_F_IN_ORDER is not offered. */
  readonly inOrder?: InOrder;
  /** How MSI-X messages are sent: `msix(send)` or `msixSignals(signal)`. Without it there is no MSI-X. */
  readonly msix?: MsixSupport;
  /** The `address` or `enabled` of some BAR has changed; these are all BARs. */
  readonly barsMoved?: (bars: readonly PciBar[]) => void;
  /** Runs a task after the caller's turn; a microtask unless told. */
  readonly defer?: (task: () => void) => void;
  /** Looks at queues for a while after they ran empty: `pollQueues(pacer)` of `virtio/device`. */
  readonly polling?: QueuePolling;
  /** Sees everything that happens at this function. */
  readonly trace?: Tracing | undefined;
  /** Hears of what the driver did wrong, and of handlers that failed. */
  readonly onError?: (error: VirtioError, needsReset: boolean) => void;
}

/** How a function is to be, beside its host. */
export interface PciFunctionOptions extends PciHost {
  /** How legacy drivers reach the device: `transitional()` or `legacyOnly()`. Without it they cannot. */
  readonly legacy?: PciLegacySupport;
  readonly layout?: PciLayout;
  /**
   * Bytes from one queue's notification address to the next: 0 (all share one) or a power of two from 2;
   * 4 unless told. With 2, VIRTIO_F_NOTIFICATION_DATA is not offered.
   */
  readonly notifyMultiplier?: number;
  /** The `queue_notify_off` of each queue; its index unless told. */
  readonly queueNotifyOff?: (queue: number) => number;
  /** The `queue_notif_config_data` of each queue, all different: with it VIRTIO_F_NOTIF_CONFIG_DATA is offered. */
  readonly notifConfigData?: (queue: number) => number;
  /** MSI-X vectors, 0 to 2048; 0 is no capability. One for each queue and one more, unless told. */
  readonly msixVectors?: number;
  /** False refuses to map an event to the vector: the driver reads back 0xffff. */
  readonly acceptVector?: (vector: number) => boolean;
  /** In the order in which the guest is to find them. */
  readonly capabilities?: readonly AddedCapability[];
  /** 1 unless told; 1 to 255. */
  readonly revision?: number;
  /** 0x1AF4 unless told. */
  readonly subsystemVendorId?: number;
  /** The PCI Device ID unless told; 0x40 or higher. */
  readonly subsystemId?: number;
  /** 1 (INTA) to 4 (INTD), or 0 for a function without INTx; 1 unless told. */
  readonly interruptPin?: number;
}

/** A write behind a BAR that notifies the device of available buffers, and tells it nothing else. */
export interface QueueNotification {
  readonly bar: number;
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  /** Bytes. */
  readonly width: number;
  readonly value: number;
}

/** A function's state as JSON, the device's included. */
export interface PciFunctionState {
  /** Its owner had stopped it. */
  readonly stopped?: boolean;
  /** The 256 bytes of configuration space. */
  readonly config: readonly number[];
  readonly isr: number;
  readonly configVector: number;
  readonly queueVectors: readonly number[];
  readonly msixTable: readonly number[];
  readonly msixPending: readonly number[];
  readonly deviceFeatureSelect: number;
  readonly driverFeatureSelect: number;
  readonly queueSelect: number;
  readonly generation: number;
  readonly core: DeviceState;
}
