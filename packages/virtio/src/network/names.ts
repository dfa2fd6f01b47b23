import { addressKey } from './address.ts';

/** Names that have an address of our making at a time. The one that was not used for longest loses it. */
const mostNames = 4096;
/** 198.18.0.0/15, which no place in the world has: RFC 2544. */
const first = 0xc612_0001;
const last = 0xc613_fffe;

/** Addresses for names, for uplinks that would rather have the names. */
export class NamePool {
  readonly #byName = new Map<string, Uint8Array>();
  readonly #byAddress = new Map<string, string>();
  #next = first;

  /** The address that stands for a name. */
  addressOf(name: string): Uint8Array {
    const known = this.#byName.get(name);
    if (known !== undefined) {
      this.#byName.delete(name);
      this.#byName.set(name, known);
      return known;
    }
    if (this.#byName.size >= mostNames) this.#forgetOldest();
    const number = this.#next;
    // Sooner or later all have been used once; by then the first were forgotten long ago.
    this.#next = number === last ? first : number + 1;
    const address = Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);
    this.#byName.set(name, address);
    this.#byAddress.set(addressKey(address), name);
    return address;
  }

  /** The name for which an address stands; `undefined` of all others. */
  nameOf(address: Uint8Array): string | undefined {
    return this.#byAddress.get(addressKey(address));
  }

  #forgetOldest(): void {
    for (const [name, address] of this.#byName) {
      this.#byName.delete(name);
      this.#byAddress.delete(addressKey(address));
      return;
    }
  }
}
