import type { Endian } from '../../spec/guest-endian.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';

/** One element of a buffer that is offered by hand. */
export interface RawElement {
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  readonly writable: boolean;
}

/** A buffer that the device has used. */
export interface RawUsed {
  readonly id: number;
  readonly written: number;
}

/** A descriptor of either ring, field by field; what is not given is 0. */
export interface RawDescriptor {
  readonly address?: number | bigint;
  /** Bytes. */
  readonly length?: number;
  readonly flags?: number;
  /** Split: the next descriptor. */
  readonly next?: number;
  /** Packed: Buffer ID. */
  readonly id?: number;
}

/** What a hand-written ring must know. */
export interface RawRingOptions {
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  /** Little unless told. */
  readonly endian?: Endian;
}

/** When the device shall notify the driver of used buffers. */
export type Wish = 'always' | 'never';

/**
 * The driver's end of a ring, written by hand from the specification and by nothing that the project's own
 * rings are made of: what it finds, they cannot agree on by mistake.
 */
export interface RawRing {
  readonly areas: QueueAreas;
  readonly size: number;
  /** Makes a buffer available, as one direct descriptor an element; returns its id. */
  offer(elements: readonly RawElement[]): number;
  /** Makes a buffer available through an indirect table at `table`, behind `direct` elements. */
  offerIndirect(table: number, elements: readonly RawElement[], tableFlags?: number): number;
  /** The next buffer that the device has used. */
  used(): RawUsed | undefined;
  /** The descriptors' bytes as they are now. */
  descriptors(): Uint8Array;
  wish(wish: Wish): void;
  /** What VIRTIO_F_NOTIFICATION_DATA sends. */
  notificationData(): number;
}

/** `NEXT`, `WRITE` and `INDIRECT` stand at the same bits in both rings. */
export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
