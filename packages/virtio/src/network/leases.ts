import { get32, put32 } from '../link/bytes.ts';
import { sameBytes } from './address.ts';
import type { Ipv4Plan } from './options.ts';

/** Leases at a time, however large the network is. */
const mostLeases = 1024;
/** Milliseconds for which an address is kept for who was offered it, and for which one is left alone that is in use. */
const offerTime = 60_000;
const declineTime = 600_000;

interface Lease {
  readonly address: number;
  /** Whose it is; nobody's after it was found to be in use. */
  readonly identity: string | undefined;
  /** When it ends, by the network's clock. */
  until: number;
}

/** Which guest has which address, until when. */
export class Leases {
  readonly #plan: Ipv4Plan;
  readonly #isOwn: (address: Uint8Array) => boolean;
  readonly #byAddress = new Map<number, Lease>();
  readonly #byIdentity = new Map<string, Lease>();

  /** @param isOwn whether the network itself has an address */
  constructor(plan: Ipv4Plan, isOwn: (address: Uint8Array) => boolean) {
    this.#plan = plan;
    this.#isOwn = isOwn;
  }

  /** Leases that there are, those that ended and were not given to others among them. */
  get size(): number {
    return this.#byAddress.size;
  }

  /**
   * An address for a guest: the one it had, the one it would like, or the first that is free. Kept for it for a while.
   * `undefined` when none is free.
   */
  offer(identity: string, wish: Uint8Array | undefined, now: number): Uint8Array | undefined {
    const had = this.#byIdentity.get(identity);
    if (had !== undefined) {
      had.until = Math.max(had.until, now + offerTime);
      return bytesOf(had.address);
    }
    const address =
      wish !== undefined && this.#free(get32(wish, 0), now) ? get32(wish, 0) : this.#firstFree(now);
    if (address === undefined) return undefined;
    this.#set({ address, identity, until: now + offerTime });
    return bytesOf(address);
  }

  /** Gives an address to a guest until then. False when it cannot have it. */
  grant(identity: string, address: Uint8Array, now: number, until: number): boolean {
    const wanted = get32(address, 0);
    const had = this.#byIdentity.get(identity);
    if (had?.address === wanted) {
      had.until = until;
      return true;
    }
    if (!this.#free(wanted, now)) return false;
    if (had !== undefined) this.#remove(had);
    else if (this.#byAddress.size >= mostLeases && !this.#removeEnded(now)) return false;
    this.#set({ address: wanted, identity, until });
    return true;
  }

  /** The guest does not need its address any more. */
  release(identity: string, address: Uint8Array): void {
    const had = this.#byIdentity.get(identity);
    if (had !== undefined && sameBytes(bytesOf(had.address), address)) this.#remove(had);
  }

  /** Somebody uses the address: nobody gets it for a while. */
  decline(identity: string, address: Uint8Array, now: number): void {
    const had = this.#byIdentity.get(identity);
    if (had === undefined || !sameBytes(bytesOf(had.address), address)) return;
    this.#remove(had);
    this.#set({ address: had.address, identity: undefined, until: now + declineTime });
  }

  /** True of an address that can be given to somebody: of the network, not ours, nobody's or of a lease that ended. */
  #free(address: number, now: number): boolean {
    const { network, broadcast } = this.#plan;
    const bytes = bytesOf(address);
    if (!network.has(bytes) || sameBytes(bytes, network.address) || sameBytes(bytes, broadcast)) return false;
    if (this.#isOwn(bytes)) return false;
    const lease = this.#byAddress.get(address);
    return lease === undefined || lease.until <= now;
  }

  #firstFree(now: number): number | undefined {
    if (this.#byAddress.size >= mostLeases) this.#removeEnded(now);
    if (this.#byAddress.size >= mostLeases) return undefined;
    const last = get32(this.#plan.broadcast, 0);
    // At most so many are taken that the search is short.
    for (let address = get32(this.#plan.guest, 0); address < last; address++) {
      if (this.#free(address, now)) return address;
    }
    return undefined;
  }

  #removeEnded(now: number): boolean {
    for (const lease of this.#byAddress.values()) {
      if (lease.until > now) continue;
      this.#remove(lease);
      return true;
    }
    return false;
  }

  #set(lease: Lease): void {
    const before = this.#byAddress.get(lease.address);
    if (before !== undefined) this.#remove(before);
    this.#byAddress.set(lease.address, lease);
    if (lease.identity !== undefined) this.#byIdentity.set(lease.identity, lease);
  }

  #remove(lease: Lease): void {
    this.#byAddress.delete(lease.address);
    if (lease.identity !== undefined) this.#byIdentity.delete(lease.identity);
  }
}

function bytesOf(address: number): Uint8Array {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, address);
  return bytes;
}
