import type { PeerError } from '../errors.ts';
import type { ViewOf } from '../spec/guest-endian.ts';
import type { Chain } from './chain.ts';
import type { ChainsInFlight } from './chains-in-flight.ts';
import type { InOrder, TakenOrder } from './taken-order.ts';

/** Where the three areas of a virtqueue stand, and how many descriptors it has. */
export interface QueueAreas {
  /** Queue Size, in descriptors: 1 to 32768; a power of two for a split ring. */
  readonly size: number;
  /** Guest address of the Descriptor Area: descriptor table, or packed descriptor ring. */
  readonly descriptor: number;
  /** Guest address of the Driver Area: available ring, or driver event suppression. */
  readonly driver: number;
  /** Guest address of the Device Area: used ring, or device event suppression. */
  readonly device: number;
}

/** What was negotiated that a ring must know. */
export interface RingOptions {
  /** VIRTIO_F_RING_PACKED. */
  readonly packed: boolean;
  /** VIRTIO_F_EVENT_IDX. */
  readonly eventIdx: boolean;
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly indirect: boolean;
  /** VIRTIO_F_IN_ORDER. */
  readonly inOrder: boolean;
  /** The byte order of the ring: `big` only for a legacy device with a big-endian guest. */
  readonly endian: 'little' | 'big';
}

/** The same for the device's end: with `order`, VIRTIO_F_IN_ORDER; with `viewOf`, where `endian` is `big`. */
export interface DeviceRingOptions extends Omit<RingOptions, 'inOrder'> {
  readonly order: InOrder | undefined;
  readonly viewOf: ViewOf | undefined;
}

/** A buffer that was taken and not completed when the state was saved; it is taken again after a restore. */
export interface SavedChain {
  /** Head index (split) or Buffer ID (packed). */
  readonly id: number;
  /** Ring entries that the buffer occupies: 1 for split, descriptors in the list for packed. */
  readonly count: number;
  /** Device-readable elements as address, length, address, length… */
  readonly readable: readonly number[];
  /** Device-writable elements likewise. */
  readonly writable: readonly number[];
  /**
   * With VIRTIO_F_IN_ORDER alone: the used length of a buffer that is completed and waits for those taken
   * before it. It is not taken again.
   */
  readonly completed?: number;
}

/** A device-side ring's position: JSON, to be saved and restored. */
export interface DeviceQueueState {
  /** Split: the next available index to read. Packed: ring offset of the next available descriptor. */
  readonly nextAvailable: number;
  /** Split: the next used index to write. Packed: ring offset of the next used descriptor. */
  readonly nextUsed: number;
  /** Packed only: the wrap counters that go with the two positions (0 or 1); 1 for split. */
  readonly availableWrap: number;
  readonly usedWrap: number;
  readonly inFlight: readonly SavedChain[];
}

/**
 * The device's end of one virtqueue, whichever ring it is. A driver that breaks the rules breaks its queue:
 * `error` says how, and from then on nothing is taken, completed or notified until a reset.
 */
export interface DeviceQueue {
  /** Queue Size, in descriptors. */
  readonly size: number;
  /** What the driver did wrong; `undefined` while the queue is sound. */
  readonly error: PeerError | undefined;
  /** Chains that were taken and not completed. */
  readonly inFlight: number;

  /** The next available chain, or `undefined` when there is none or the queue is broken. */
  take(): Chain | undefined;

  /** True when `take` would find something. A broken queue has nothing. */
  hasAvailable(): boolean;

  /**
   * Returns a chain to the driver with `chain.writable.written` as its used length. The driver sees it after
   * `flush`. With VIRTIO_F_IN_ORDER a chain waits for those that were taken before it.
   *
   * @throws {UsageError} CHAIN_COMPLETED for a chain of this queue that is not in flight.
   */
  complete(chain: Chain): void;

  /** @internal Takes its position back, if `putBack` says so: `untake`. */
  putBack(chain: Chain, putBack: PutBack): void;

  /**
   * Publishes what was completed; true when the driver wants a used buffer notification for it, or for what was published
   * since the last time.
   */
  flush(): boolean;

  /** Publishes what was completed, and leaves to the next `flush` whether the driver wants to be notified of it. */
  publish(): void;

  /**
   * Asks the driver for available buffer notifications again, then looks: true when something became
   * available meanwhile, for which no notification may ever come.
   */
  enableNotifications(): boolean;

  /** Tells the driver that available buffer notifications are not needed. It may send them all the same. */
  disableNotifications(): void;

  /** @internal Publishes what was completed, and tells the position and what `list` makes of that in flight: `saveQueue`. */
  save(list: ListChains): DeviceQueueState;

  /** Lets go of the memory. Chains in flight become dead: using one throws, completing one is ignored. */
  close(): void;
}

/** @internal Tells what is in flight, oldest first. */
export type ListChains = (
  chains: ChainsInFlight,
  order: TakenOrder | undefined,
) => DeviceQueueState['inFlight'];

/** @internal Decides over a chain that is to go back untaken; true when the ring takes its position back. */
export type PutBack = (chains: ChainsInFlight, chain: Chain) => boolean;

/** One contiguous element of a buffer that a driver offers. */
export interface BufferElement {
  /** Guest address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** A buffer that the device has used. The object is reused by the next `poll`. */
export interface UsedBuffer<T> {
  readonly token: T;
  /** Bytes that the device says it has written, checked against the buffer's device-writable bytes. */
  readonly written: number;
}

/** Where a device goes on with a ring: split, two indexes of 16 bits; packed, two offsets with their wrap counters in bit 15. */
export interface QueuePosition {
  /** The next buffer that it takes. */
  readonly available: number;
  /** The next place where it says what it has used. */
  readonly used: number;
}

/**
 * The driver's end of one virtqueue, whichever ring it is. A device that breaks the rules breaks the queue:
 * `error` says how, and nothing is polled any more until a reset.
 */
export interface DriverQueue<T = unknown> {
  /** Queue Size, in descriptors. */
  readonly size: number;
  /** What the device did wrong; `undefined` while the queue is sound. */
  readonly error: PeerError | undefined;
  /** Descriptors that are free. */
  readonly free: number;
  /** Buffers that were submitted and not polled back. */
  readonly inFlight: number;

  /**
   * Offers a buffer: `readable` elements, then `writable` ones. The device sees it after `publish`. `token`
   * comes back from `poll`. Returns false, having done nothing, when there are not enough free descriptors.
   *
   * @throws {UsageError} BAD_ARGUMENT for a buffer without elements, with more than Queue Size of them, or
   * with 2^32 bytes or more.
   */
  submit(readable: readonly BufferElement[], writable: readonly BufferElement[], token: T): boolean;

  /** Makes what was submitted available; true when the device wants an available buffer notification for it. */
  publish(): boolean;

  /**
   * What VIRTIO_F_NOTIFICATION_DATA sends: next_off in bits 0–14 and next_wrap in bit 15 (2.9).
   */
  notificationData(): number;

  /** The next buffer that the device has used, or `undefined`. */
  poll(): UsedBuffer<T> | undefined;

  /** Asks for used buffer notifications again, then looks: true when something was used meanwhile. */
  enableNotifications(): boolean;

  /** Tells the device that used buffer notifications are not needed. It may send them all the same. */
  disableNotifications(): void;

  /**
   * The device is gone, and its like is about to go on with the ring from the position that this returns. Everything
   * used was polled before. Unless the new device `remembers` what the old one had taken, it finds the buffers in
   * flight from there on, oldest first. `undefined` when the ring does not hold all of them any more, or is broken.
   */
  restart(remembers: boolean): QueuePosition | undefined;

  /** Gives the indirect tables back to the allocator. The device must have let go of the queue before. */
  close(): void;
}
