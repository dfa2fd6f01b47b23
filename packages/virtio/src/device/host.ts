import type { VirtioError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ReservedFeatureName } from '../spec/features.ts';
import type { DeviceRing } from '../virtqueue/device-ring.ts';
import type { InOrder } from '../virtqueue/taken-order.ts';
import type { LegacyInterface } from './legacy.ts';
import type { QueuePolling } from './polling.ts';
import type { Tracing } from './tracing.ts';

/** What a transport lends to the core. */
export interface DeviceHost {
  /** The guest's memory, as this device may see it. */
  readonly memory: GuestMemory;
  /** Sends a used buffer notification for the queue. */
  interruptQueue(index: number): void;
  /** Sends a configuration change notification. */
  interruptConfig(): void;
  /** The reserved features that this transport can carry; all that the device offers, unless told. */
  readonly carries?: readonly ReservedFeatureName[];
  /** Reserved features that the transport adds to what the device offers. */
  readonly adds?: readonly ReservedFeatureName[] | undefined;
  /** The device's end of packed virtqueues. Without it VIRTIO_F_RING_PACKED is not offered. */
  readonly packedRing?: DeviceRing | undefined;
  /** What holds early completions back. Without it VIRTIO_F_IN_ORDER is not offered. */
  readonly inOrder?: InOrder | undefined;
  /** How legacy drivers reach the device; without it they cannot. */
  readonly legacy?: LegacyInterface | undefined;
  /**
   * True for a transport that modern drivers use as well: the legacy interface is in force from `useLegacy` to
   * the next reset. Else it always is, where there is one.
   */
  readonly transitional?: boolean | undefined;
  /** True where somebody between the driver and the device may keep features to himself, as the type's table says. */
  readonly isPartial?: boolean;
  /** Runs a task after the caller's turn; a microtask unless told. A host with an event loop gives its own. */
  readonly defer?: ((task: () => void) => void) | undefined;
  /** Looks at served queues for a while after they ran empty, before the driver is asked to notify: `pollQueues(pacer)`. */
  readonly polling?: QueuePolling | undefined;
  /**
   * False while the bus forbids the device to touch memory; always true unless told. Buffers stay in their
   * rings until `resume`; those that were taken before are completed.
   */
  mayAccessMemory?(): boolean;
  /** Sees everything that happens at this device: `tracing(tracer)`. */
  readonly trace?: Tracing | undefined;
  /**
   * Hears of what the driver did wrong, and of handlers that failed. `needsReset` tells what stops the device
   * from what it lives with.
   */
  readonly onError?: ((error: VirtioError, needsReset: boolean) => void) | undefined;
}
