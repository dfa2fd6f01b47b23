import type { Offload } from '../../link/offload.ts';

/** Decides which receive queue a frame goes to. */
export interface Steering {
  /** A frame whose queue is not there, as it is being reset, is dropped; otherwise it goes to another one. */
  readonly exact?: boolean;
  /**
   * The queue, from 0, for a frame from the link; {@link noQueue} for one that is to be dropped. Called once for each frame,
   * though it may be offered again.
   */
  queueFor(frame: Uint8Array, offload: Offload): number;
  /** The driver sent a frame on a transmit queue, from 0. */
  sent?(frame: Uint8Array, queue: number): void;
  /** Of the frame that was asked about last: its hash, and over what it is, one of `hashReport`. */
  readonly hash: number;
  readonly hashReport: number;
}

/** Where a frame goes that is to be dropped. */
export const noQueue = -1;

/** All frames go to the first queue. */
export const firstQueue: Steering = Object.freeze({ queueFor: () => 0, hash: 0, hashReport: 0 });
