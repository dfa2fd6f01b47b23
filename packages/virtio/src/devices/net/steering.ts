import type { DeviceResources } from '../../device/admin/resource-object.ts';
import type { Offload } from '../../link/offload.ts';
import type { FrameSecurity, SecuredFrame } from './security.ts';
import { headerFlag } from './spec-header.ts';

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
  /** What IPsec made of the frame that was asked about last; absent when that was not asked. */
  readonly secured?: SecuredFrame | undefined;
  /** The frame that was asked about last was taken: it will not be offered again. */
  taken?(): void;
  /** Of the frame that was asked about last: its hash, and over what it is, one of `hashReport`. */
  readonly hash: number;
  readonly hashReport: number;
}

/** Decides about frames before they are steered: flow filters. */
export interface FrameFilter {
  readonly resources: DeviceResources;
  /** False while it decides nothing. */
  readonly active: boolean;
  /**
   * A queue, from 0; {@link noQueue} for a frame that is to be dropped, {@link noRule} for one that is to be steered,
   * {@link throughIpsec} and {@link throughIpsecAgain} for one that IPsec is to open.
   */
  queueFor(frame: Uint8Array): number;
}

/** Frames go where a filter puts them, and else are steered. */
export class FilteredSteering implements Steering {
  readonly #filter: FrameFilter;
  readonly #steering: () => Steering;
  /** Absent while the driver has not negotiated it. */
  readonly #security: () => FrameSecurity | undefined;
  #exact = false;
  #secured: SecuredFrame | undefined;

  constructor(filter: FrameFilter, steering: () => Steering, security: () => FrameSecurity | undefined) {
    this.#filter = filter;
    this.#steering = steering;
    this.#security = security;
  }

  get secured(): SecuredFrame | undefined {
    return this.#secured;
  }

  taken(): void {
    if (this.#secured !== undefined) this.#security()?.taken();
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
    this.#secured = undefined;
    const rule = this.#filter.queueFor(frame);
    const found = rule <= throughIpsec ? this.#secure(rule, frame, offload) : rule;
    // The hash is reported, whoever decides; it is that of the frame as the driver sees it.
    const { frame: shown, offload: left } = this.#secured ?? { frame, offload };
    const steered = shown.length === 0 ? noQueue : steering.queueFor(shown, left);
    this.#exact = found !== noRule || steering.exact === true;
    return found === noRule ? steered : found;
  }

  sent(frame: Uint8Array, queue: number): void {
    this.#steering().sent?.(frame, queue);
  }

  /**
   * Has IPsec open a frame, and finds its queue: the first one, since the rule that asked for this stops all steering, unless
   * rules are to be found once more. No third time: what is within the second one stays as it is.
   */
  #secure(rule: number, frame: Uint8Array, offload: Offload): number {
    const security = this.#security();
    if (security === undefined) return 0;
    const secured = security.open(frame, offload);
    this.#secured = secured;
    if (secured.frame.length === 0) return noQueue;
    if (rule === throughIpsec || (secured.flags & headerFlag.SECURITY_ERR) !== 0) return 0;
    const again = this.#filter.queueFor(secured.frame);
    return again <= throughIpsec ? 0 : again;
  }
}

/** Of a frame that IPsec is to open; and whose rules are to be found once more after that. */
export const throughIpsec = -3;
export const throughIpsecAgain = -4;

/** Of a frame that no rule is for. */
export const noRule = -2;

/** Where a frame goes that is to be dropped. */
export const noQueue = -1;

/** All frames go to the first queue. */
export const firstQueue: Steering = Object.freeze({ queueFor: () => 0, hash: 0, hashReport: 0 });
