import { addressKey, isPlace, Prefix, sameBytes } from './address.ts';
import type { Settings } from './options.ts';

/** What an address is to this network. */
export type AddressKind =
  /** The host, by the network's own address of it. */
  | 'host'
  /** The network's name server. */
  | 'dns'
  /** The router, by its address on the link. */
  | 'router'
  /** One at which a service of the program's own is. */
  | 'service'
  /** One that a guest may have. */
  | 'guest'
  /** A place outside. */
  | 'outside'
  /** A group, nobody, or whoever asks. */
  | 'nowhere';

const linkLocal = Prefix.parse('fe80::/10', 6);
const limitedBroadcast = Uint8Array.of(255, 255, 255, 255);

/** Who has which address. */
export class Plan {
  readonly #settings: Settings;
  /** Addresses of the network at which services are, and how many. */
  readonly #claims = new Map<string, number>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  kindOf(address: Uint8Array): AddressKind {
    const { ipv4, ipv6 } = this.#settings;
    const plan = address.length === 4 ? ipv4 : ipv6;
    if (plan === undefined) return 'nowhere';
    if (sameBytes(address, plan.host)) return 'host';
    if (sameBytes(address, plan.dns)) return 'dns';
    if (this.#claims.size > 0 && this.#claims.has(addressKey(address))) return 'service';
    if (address.length === 4) {
      if (ipv4?.network.has(address)) return this.isMany(address) ? 'nowhere' : 'guest';
    } else if (linkLocal.has(address)) {
      return sameBytes(address, ipv6!.router) ? 'router' : 'guest';
    } else if (ipv6!.prefix.has(address)) return 'guest';
    return isPlace(address) ? 'outside' : 'nowhere';
  }

  /** True of an address that a guest may use. */
  isGuest(address: Uint8Array): boolean {
    return this.kindOf(address) === 'guest';
  }

  /** True of addresses that are this network's own. */
  isOwn(address: Uint8Array): boolean {
    const kind = this.kindOf(address);
    return kind === 'host' || kind === 'dns' || kind === 'router' || kind === 'service';
  }

  /** A service begins at an address. Guests find it as they find each other when it is one that a guest could have. */
  claim(address: Uint8Array): void {
    const key = addressKey(address);
    const kind = this.kindOf(address);
    if (kind === 'guest' || kind === 'service') this.#claims.set(key, (this.#claims.get(key) ?? 0) + 1);
  }

  /** A service that began there has ended. */
  release(address: Uint8Array): void {
    const key = addressKey(address);
    const left = (this.#claims.get(key) ?? 0) - 1;
    if (left > 0) this.#claims.set(key, left);
    else this.#claims.delete(key);
  }

  /** True of an address of all, or of a group. */
  isMany(address: Uint8Array): boolean {
    if (address.length === 16) return address[0] === 0xff;
    const { ipv4 } = this.#settings;
    if (address[0]! >= 224) return address[0]! < 240 || sameBytes(address, limitedBroadcast);
    if (ipv4 === undefined) return false;
    return sameBytes(address, ipv4.broadcast) || sameBytes(address, ipv4.network.address);
  }
}
