import type { Selections } from '../../device/selections.ts';
import type { DeviceState } from '../../device/state.ts';
import type { Tracing } from '../../device/tracing.ts';
import type { VirtioError } from '../../errors.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import type { InOrder } from '../../virtqueue/taken-order.ts';
import type { MmioSharedMemory } from './shared-memory.ts';

/** What a host lends to a device. A callback must not throw; it may access the device. */
export interface MmioHost {
  /** The guest's memory, as this device may see it. */
  readonly memory: GuestMemory;
  /** Drives the interrupt, which is a level: called when the level changes, and with the present one by `resume`. */
  readonly setInterruptLine: (level: boolean) => void;
  /** Runs a task after the caller's turn; a microtask unless told. */
  readonly defer?: ((task: () => void) => void) | undefined;
  /** Sees everything that happens at this device. */
  readonly trace?: Tracing | undefined;
  /** Hears of what the driver did wrong, and of handlers that failed. */
  readonly onError?: ((error: VirtioError, needsReset: boolean) => void) | undefined;
}

/** How a device of either version is to be. */
export interface MmioWindowOptions extends MmioHost {
  /** What VendorID reads; 0x1AF4 unless told. */
  readonly vendorId?: number;
}

/** How a device of version 2 is to be, beside its host. */
export interface MmioDeviceOptions extends MmioWindowOptions {
  /** Packed virtqueues: `packedRing` of `virtio/virtqueue`. Without it VIRTIO_F_RING_PACKED is not offered. */
  readonly packedRing?: DeviceRing | undefined;
  /** What holds early completions back: `inOrder` of `virtio/virtqueue`. Without it VIRTIO_F_IN_ORDER is not offered. */
  readonly inOrder?: InOrder | undefined;
  readonly sharedMemory?: readonly MmioSharedMemory[];
}

/** What both versions save. */
export interface MmioWindowState extends Selections {
  readonly version: number;
  readonly interruptStatus: number;
  readonly core: DeviceState;
}

/** The state of a device of version 2 as JSON. */
export interface MmioDeviceState extends MmioWindowState {
  readonly sharedMemorySelect: number;
}
