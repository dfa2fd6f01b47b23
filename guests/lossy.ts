import type { Endpoint, Link, Offload } from 'virtio/link';

/**
 * The same end of a link, behind a wire that loses frames: one in so many of each direction, by a fixed sequence, so that
 * every run loses the same ones.
 */
export class Lossy implements Endpoint {
  /** Frames that were lost. */
  lost = 0;
  readonly #end: Endpoint;
  readonly #share: number;
  #state = 0x2545_f491;

  /** @param share of frames that are lost, 0 to 1 */
  constructor(end: Endpoint, share: number) {
    this.#end = end;
    this.#share = share;
  }

  get takes(): Endpoint['takes'] {
    return this.#end.takes;
  }

  attached(link: Link): void {
    const loses = (): boolean => this.#loses();
    this.#end.attached({
      get up() {
        return link.up;
      },
      get takes() {
        return link.takes;
      },
      send: (frame, offload) => loses() || link.send(frame, offload),
      room: () => link.room(),
      more: (follow) => link.more?.(follow),
    });
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    return this.#loses() || this.#end.receive(frame, offload);
  }

  more(follow: boolean): void {
    this.#end.more?.(follow);
  }

  room(): void {
    this.#end.room();
  }

  carrier(up: boolean): void {
    this.#end.carrier?.(up);
  }

  #loses(): boolean {
    // xorshift, 32 bits.
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    if ((this.#state >>> 0) / 2 ** 32 >= this.#share) return false;
    this.lost++;
    return true;
  }
}
