import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { FeatureSet, ReservedFeatureName } from '../spec/features.ts';
import type { Endian } from '../spec/guest-endian.ts';
import type { QueueAreas, QueuePosition } from '../virtqueue/queue.ts';

/** What a device tells its driver without being asked. A notification may be spurious. */
export interface NotificationListener {
  /** Buffers of the queue may have been used; `undefined` when the transport cannot tell which queue. */
  usedBuffer(queue: number | undefined): void;
  /** The configuration may have changed, or the device needs a reset. */
  configChange(): void;
  /**
   * The device died, and its like is about to go on with the queue: where, when the ring allows it. `remembers` says that
   * it knows what was in flight. See `DriverQueue.restart`.
   */
  restarting?(queue: number, remembers: boolean): QueuePosition | undefined;
  /** The device is gone: unplugged, or its socket died. */
  gone?(error: Error): void;
}

/** What a driver must know of a device that it reaches through the legacy interface. */
export interface LegacyTransport {
  /** The byte order of rings, messages and the configuration: the guest's. */
  readonly endian: Endian;
  /** Queue Align, in bytes: where a queue starts, and its used ring in it. */
  readonly queueAlign: number;
  /** The device chooses the queue size, not the driver. */
  readonly sizeIsFixed: boolean;
}

/**
 * What a device is known to do otherwise than the specification has it, and its driver can put up with:
 *
 * - `USED_LENGTH_WITHOUT_WRITE`: in a packed virtqueue it tells the bytes that it wrote, but never sets
 *   VIRTQ_DESC_F_WRITE in a used descriptor, without which Element Length means nothing (2.8.5).
 * - `TWO_FEATURE_WORDS`: it knows two words of 32 feature bits, and takes every selector above 1 for 1.
 */
export type Deviation = 'USED_LENGTH_WITHOUT_WRITE' | 'TWO_FEATURE_WORDS';

/** The administration virtqueues of a device. */
export interface AdminQueues {
  /** The index of the first. */
  readonly index: number;
  readonly count: number;
}

/**
 * What a bus must offer a driver. The control plane is asynchronous, since it may cross a socket; a kick is
 * synchronous. Methods reject with HostError DEVICE_GONE when the device is no longer there.
 */
export interface Transport {
  /** The virtio device id (chapter 5). */
  readonly deviceId: number;
  /** Memory that both the driver and the device can reach. */
  readonly memory: GuestMemory;
  /** The part of that memory which is the driver's to give. */
  readonly allocator: Allocator;
  /** The reserved features that this transport can carry on the driver side. */
  readonly carries: readonly ReservedFeatureName[];
  /** Set where the device is reached through the legacy interface. */
  readonly legacy?: LegacyTransport | undefined;
  /** Known of the device behind it; none unless told. */
  readonly deviations?: readonly Deviation[] | undefined;
  /**
   * True where the device status cannot be read: `readStatus` tells what the device took of what was written, and never
   * DEVICE_NEEDS_RESET.
   */
  readonly statusIsWriteOnly?: boolean;

  readDeviceFeatures(): Promise<FeatureSet>;
  writeDriverFeatures(features: FeatureSet): Promise<void>;
  readStatus(): Promise<number>;
  writeStatus(value: number): Promise<void>;

  /** One integer of the device's configuration space: 1, 2, 4 or 8 bytes, the last as two halves. */
  readConfig(offset: number, length: number): Promise<Uint8Array>;
  writeConfig(offset: number, bytes: Uint8Array): Promise<void>;
  /** Changes when the configuration may have changed between two reads; always 0 in the legacy interface, which has none. */
  configGeneration(): Promise<number>;

  /** The largest size of a queue, in descriptors; 0 when the device has no such queue. */
  queueMaxSize(index: number): Promise<number>;
  /**
   * Where the administration virtqueues are, once VIRTIO_F_ADMIN_VQ was negotiated. Absent where the transport
   * does not carry that feature.
   *
   * @throws {PeerError} LAYOUT_INVALID when they are where no queue of theirs can be.
   */
  adminQueues?(): Promise<AdminQueues>;
  /** Tells the device where a queue is, and enables it. A legacy queue is one piece, and starts with its descriptors. */
  enableQueue(index: number, areas: QueueAreas): Promise<void>;
  /** Resets one queue and waits until the device says that it has. Only with VIRTIO_F_RING_RESET. */
  resetQueue(index: number): Promise<void>;

  /**
   * Sends an available buffer notification. `data` is next_off and next_wrap (2.9), sent along when
   * VIRTIO_F_NOTIFICATION_DATA was negotiated, else `undefined`.
   */
  kick(index: number, data: number | undefined): void;

  /** Starts and stops the flow of notifications; one listener at a time. */
  listen(listener: NotificationListener | undefined): void;

  /** Lets go of what the transport holds; the device is left reset. */
  close(): Promise<void>;
}
