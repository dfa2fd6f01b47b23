import { finished, type Offload } from '../link/index.ts';

/** The packet of IP that is being looked at: one object for all, valid until the next is. */
export class IpPacket {
  readonly #source4 = new Uint8Array(4);
  readonly #destination4 = new Uint8Array(4);
  readonly #source6 = new Uint8Array(16);
  readonly #destination6 = new Uint8Array(16);
  version: 4 | 6 = 4;
  source: Uint8Array = this.#source4;
  destination: Uint8Array = this.#destination4;
  /** Sent to a group or to all of the link. */
  toMany = false;
  hopLimit = 0;
  /** Of the payload. */
  protocol = 0;
  bytes: Uint8Array = new Uint8Array();
  /** Where the header of IP begins in `bytes`. */
  start = 0;
  /** Where the payload does, behind all headers of IP. */
  offset = 0;
  /** Bytes of payload. */
  length = 0;
  offload: Offload = finished;

  /** Reads both addresses. */
  setAddresses(version: 4 | 6, bytes: Uint8Array, at: number): void {
    this.version = version;
    this.source = version === 4 ? this.#source4 : this.#source6;
    this.destination = version === 4 ? this.#destination4 : this.#destination6;
    const { length } = this.source;
    for (let index = 0; index < length; index++) {
      this.source[index] = bytes[at + index]!;
      this.destination[index] = bytes[at + length + index]!;
    }
  }

  /** The packet from its header on. */
  get whole(): Uint8Array {
    return this.bytes.subarray(this.start, this.offset + this.length);
  }
}
