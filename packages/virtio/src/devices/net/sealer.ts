import type { EspOutbound } from '../../ipsec/outbound.ts';
import type { Link } from '../../link/endpoint.ts';
import { completeChecksum } from '../../link/finish-checksum.ts';
import { finished, type Offload, segmentation } from '../../link/offload.ts';
import { SegmentPlan, Segments } from '../../link/segments.ts';
import type { FrameSealer } from './security.ts';
import { largestFrame } from './spec.ts';

/** Bytes that a frame gains at most, whatever its association. */
const mostGained = 256;

/** Finds an outbound association by its id; `undefined` when there is none. */
export type OutboundOf = (resource: number, resourceType: number) => EspOutbound | undefined;

/** Finishes the frames of one transmit queue, cuts them where they are to be, and encrypts each piece. */
export class Sealer implements FrameSealer {
  readonly #find: OutboundOf;
  readonly #plan = new SegmentPlan();
  readonly #segments = new Segments(this.#plan);
  readonly #sealed = new Uint8Array(largestFrame + mostGained);
  /** Bytes of what is encrypted and was not sent: it is never encrypted twice. */
  #length = 0;
  #association: EspOutbound | undefined;

  constructor(find: OutboundOf) {
    this.#find = find;
  }

  get pending(): boolean {
    return this.#length > 0 || this.#segments.pending;
  }

  begin(frame: Uint8Array, offload: Offload, resource: number, resourceType: number): string | undefined {
    const association = this.#find(resource, resourceType);
    if (association === undefined) return 'is for an outbound association that is not there';
    this.#association = association;
    if (offload.segmentation !== segmentation.NONE) {
      if (!this.#plan.read(frame, offload)) return 'is to be cut, and not as its headers are';
      this.#segments.begin(frame, offload);
      return undefined;
    }
    if (offload.needsChecksum) completeChecksum(frame, offload.checksumStart, offload.checksumOffset);
    this.#length = association.seal(frame, this.#sealed);
    return this.#length === 0 ? association.refusal : undefined;
  }

  send(link: Link): boolean | string {
    const segments = this.#segments;
    for (;;) {
      if (this.#length > 0) {
        if (!link.send(this.#sealed.subarray(0, this.#length), finished)) {
          if (segments.pending) segments.keep();
          return false;
        }
        this.#length = 0;
        if (segments.pending) segments.advance();
      }
      if (!segments.pending) return true;
      const association = this.#association;
      this.#length = association?.seal(segments.next(), this.#sealed) ?? 0;
      if (this.#length === 0) {
        this.forget();
        return association?.refusal ?? 'is for nobody';
      }
    }
  }

  forget(): void {
    this.#length = 0;
    if (this.#segments.pending) this.#segments.forget();
  }
}
