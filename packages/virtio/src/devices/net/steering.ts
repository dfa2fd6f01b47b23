import type { DeviceResources } from '../../device/admin/resource-object.ts';
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

/** Decides about frames before they are steered: flow filters. */
export interface FrameFilter {
  readonly resources: DeviceResources;
  /** False while it decides nothing. */
  readonly active: boolean;
  /** A queue, from 0; {@link noQueue} for a frame that is to be dropped, {@link noRule} for one that is to be steered. */
  queueFor(frame: Uint8Array): number;
}

/** Frames go where a filter puts them, and else are steered. */
export class FilteredSteering implements Steering {
  readonly #filter: FrameFilter;
  readonly #steering: () => Steering;
  #exact = false;

  constructor(filter: FrameFilter, steering: () => Steering) {
    this.#filter = filter;
    this.#steering = steering;
  }

  get exact(): boolean {
    return this.#exact;
  }

  get hash(): number {
    return this.#steering().hash;
  }

  get hashReport(): number {
    return this.#steering().hashReport;
  }

  queueFor(frame: Uint8Array, offload: Offload): number {
    const steering = this.#steering();
    // The hash is reported, whoever decides.
    const steered = steering.queueFor(frame, offload);
    const found = this.#filter.queueFor(frame);
    this.#exact = found !== noRule || steering.exact === true;
    return found === noRule ? steered : found;
  }

  sent(frame: Uint8Array, queue: number): void {
    this.#steering().sent?.(frame, queue);
  }
}

/** Of a frame that no rule is for. */
export const noRule = -2;

/** Where a frame goes that is to be dropped. */
export const noQueue = -1;

/** All frames go to the first queue. */
export const firstQueue: Steering = Object.freeze({ queueFor: () => 0, hash: 0, hashReport: 0 });
