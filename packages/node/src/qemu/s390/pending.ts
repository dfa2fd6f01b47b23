import { adapterBit } from './mailbox.ts';

/** An interruption that a processor has yet to take. `schid` is 0 for one of an adapter. */
export interface PendingIo {
  readonly schid: number;
  readonly parameter: number;
  /** Its subclass, 0 to 7. */
  readonly isc: number;
}

/** I/O interruptions that wait for a processor to be ready for them. */
export class PendingInterruptions {
  readonly #waiting: PendingIo[] = [];
  /** Whether the status that a subchannel told of is still there. */
  readonly #isDue: (schid: number) => boolean;

  constructor(isDue: (schid: number) => boolean) {
    this.#isDue = isDue;
  }

  get any(): boolean {
    return this.#waiting.length > 0;
  }

  subchannel(interruption: PendingIo): void {
    this.#waiting.push(interruption);
  }

  /** One of a subclass is enough: indicators tell the rest. */
  adapter(isc: number): void {
    if (this.#waiting.some((one) => one.schid === 0 && one.isc === isc)) return;
    this.#waiting.push({ schid: 0, parameter: 0, isc });
  }

  /**
   * Takes the first whose subclass is allowed.
   *
   * @param allowed a byte: the highest bit for subclass 0
   */
  take(allowed: number): PendingIo | undefined {
    for (let at = 0; at < this.#waiting.length; ) {
      const one = this.#waiting[at];
      if (one === undefined || (one.schid !== 0 && !this.#isDue(one.schid))) {
        this.#waiting.splice(at, 1);
      } else if (((0x80 >>> one.isc) & allowed) !== 0) {
        this.#waiting.splice(at, 1);
        return one;
      } else at++;
    }
    return undefined;
  }
}

/** The I/O interruption code, as the architecture stores it: 12 bytes. */
export function interruptionCode({ schid, parameter, isc }: PendingIo): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint32(0, schid);
  view.setUint32(4, parameter);
  view.setUint32(8, ((schid === 0 ? adapterBit : 0) | (isc << 27)) >>> 0);
  return new Uint8Array(view.buffer);
}
