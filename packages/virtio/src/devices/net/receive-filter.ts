import type { Json } from '../../device/json.ts';
import { isMulticast, macNumber } from '../../link/mac.ts';

/** Addresses that a table holds; with more of a kind, all of that kind are let through. */
const mostAddresses = 1024;

/** The switches of the class RX: all are off at first. */
export interface ReceiveModes {
  promiscuous: boolean;
  allMulticast: boolean;
  allUnicast: boolean;
  noMulticast: boolean;
  noUnicast: boolean;
  noBroadcast: boolean;
}

const allOff: Readonly<ReceiveModes> = {
  promiscuous: false,
  allMulticast: false,
  allUnicast: false,
  noMulticast: false,
  noUnicast: false,
  noBroadcast: false,
};

/** Which frames from the link the driver wants to see. */
export class ReceiveFilter {
  readonly modes: ReceiveModes = { ...allOff };
  /** True where the driver can say which addresses it listens to; otherwise it listens to all. */
  byAddress = false;
  /** True where it can say which VLANs it is in; otherwise it is in all. */
  byVlan = false;
  /** The address that is the driver's own. */
  readonly mac: Uint8Array<ArrayBuffer> = new Uint8Array(6);
  readonly #unicast = new Set<number>();
  readonly #multicast = new Set<number>();
  #manyUnicast = false;
  #manyMulticast = false;
  /** A bit for each VLAN. */
  readonly #vlans = new Uint8Array(4096 / 8);

  /** The device's own address, and nothing else that a driver has set. */
  reset(mac: Uint8Array): void {
    Object.assign(this.modes, allOff);
    this.byAddress = false;
    this.byVlan = false;
    this.mac.set(mac);
    this.setTables([], []);
    this.#vlans.fill(0);
  }

  /** @spec 5.1.9.5.2.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering */
  setTables(unicast: readonly Uint8Array[], multicast: readonly Uint8Array[]): void {
    this.#manyUnicast = fillTable(this.#unicast, unicast);
    this.#manyMulticast = fillTable(this.#multicast, multicast);
  }

  setVlan(id: number, member: boolean): void {
    const bit = 1 << (id & 7);
    this.#vlans[id >>> 3] = member ? this.#vlans[id >>> 3]! | bit : this.#vlans[id >>> 3]! & ~bit;
  }

  /**
   * True for a frame that the driver wants; it has an Ethernet header.
   *
   * @spec 5.1.9.5.1.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering
   * @spec 5.1.9.5.3.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / VLAN Filtering
   */
  accepts(frame: Uint8Array): boolean {
    const { modes } = this;
    if (modes.promiscuous) return true;
    if (this.byVlan && frame[12] === 0x81 && frame[13] === 0 && frame.length >= 16) {
      const id = ((frame[14]! & 0x0f) << 8) | frame[15]!;
      if ((this.#vlans[id >>> 3]! & (1 << (id & 7))) === 0) return false;
    }
    if (!this.byAddress) return true;
    if ((frame[0]! & 1) === 0) {
      if (modes.noUnicast) return false;
      return (
        modes.allUnicast || this.#manyUnicast || this.#isOwn(frame) || this.#unicast.has(macNumber(frame, 0))
      );
    }
    if (isBroadcast(frame)) return !modes.noBroadcast;
    if (modes.noMulticast) return false;
    return modes.allMulticast || this.#manyMulticast || this.#multicast.has(macNumber(frame, 0));
  }

  save(): Json {
    return {
      modes: { ...this.modes },
      mac: Array.from(this.mac),
      unicast: this.#manyUnicast ? null : [...this.#unicast],
      multicast: this.#manyMulticast ? null : [...this.#multicast],
      vlans: Array.from(this.#vlans),
    };
  }

  restore(saved: Json): void {
    const { modes, mac, unicast, multicast, vlans } = asRecord(saved);
    const switches = asRecord(modes);
    for (const mode of keysOf(this.modes)) this.modes[mode] = switches[mode] === true;
    this.mac.set(bytesOf(mac, 6));
    this.#manyUnicast = refill(this.#unicast, unicast);
    this.#manyMulticast = refill(this.#multicast, multicast);
    this.#vlans.set(bytesOf(vlans, this.#vlans.length));
  }

  #isOwn(frame: Uint8Array): boolean {
    const { mac } = this;
    return (
      frame[5] === mac[5] &&
      frame[4] === mac[4] &&
      frame[3] === mac[3] &&
      frame[2] === mac[2] &&
      frame[1] === mac[1] &&
      frame[0] === mac[0]
    );
  }
}

/** True when there are too many to be told apart. */
function fillTable(table: Set<number>, addresses: readonly Uint8Array[]): boolean {
  table.clear();
  if (addresses.length > mostAddresses) return true;
  for (const mac of addresses) table.add(macNumber(mac, 0));
  return false;
}

function refill(table: Set<number>, saved: Json | undefined): boolean {
  table.clear();
  if (!Array.isArray(saved)) return true;
  for (const key of saved) if (typeof key === 'number') table.add(key);
  return false;
}

const isBroadcast = (frame: Uint8Array): boolean =>
  isMulticast(frame) && (frame[0]! & frame[1]! & frame[2]! & frame[3]! & frame[4]! & frame[5]!) === 0xff;

const asRecord = (saved: Json | undefined): Readonly<Record<string, Json>> =>
  Object.fromEntries(Object.entries(saved ?? {}));

const keysOf = (modes: ReceiveModes): (keyof ReceiveModes)[] =>
  // The keys of a value of that very type.
  Object.keys(modes) as (keyof ReceiveModes)[];

const bytesOf = (saved: Json | undefined, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Array.isArray(saved) ? Number(saved[i] ?? 0) : 0));
