import type { ClauseId } from '../../spec/clauses.ts';
import type { Endian } from '../../spec/guest-endian.ts';

/** A rule of the rings that a driver broke. */
export interface RingFinding {
  readonly clause: ClauseId;
  readonly message: string;
}

/** One descriptor as the driver wrote it. */
export interface WatchedDescriptor {
  /** Guest address of the descriptor itself. */
  readonly at: number;
  readonly index: number;
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  readonly flags: number;
  /** Split: `next`; packed: Buffer ID. */
  readonly last: number;
  /** The descriptor itself as it was when its buffer was made available. */
  readonly bytes: Uint8Array;
}

/** A buffer that the device has. */
export interface WatchedBuffer {
  readonly id: number;
  /** Ring entries that it occupies. */
  readonly count: number;
  readonly descriptors: readonly WatchedDescriptor[];
}

/** What a watched ring was negotiated with. */
export interface WatchOptions {
  readonly packed: boolean;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  readonly inOrder: boolean;
  /** Little unless told. */
  readonly endian?: Endian;
}

/** Looks at a driver's ring from outside, between two of the driver's own steps. */
export interface RingWatch {
  readonly findings: RingFinding[];
  /** Buffers seen so far. */
  readonly seen: number;
  /** What the driver must send along with a notification now (2.9). */
  expectedData(): number;
  look(): void;
}
