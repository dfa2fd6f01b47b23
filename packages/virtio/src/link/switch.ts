import { UsageError } from '../errors.ts';
import type { Endpoint, Link } from './endpoint.ts';
import { macNumber } from './mac.ts';
import { ethernetHeader } from './numbers.ts';
import { allOffloads, copyOffload, type Offload, type TakenOffloads } from './offload.ts';

/** How a switch behaves. */
export interface SwitchOptions {
  /** Addresses that are known of one port; the oldest gives way to a new one. 1024 unless told. */
  readonly addressesPerPort?: number;
  /** Milliseconds after which an address that nobody sends from is forgotten. 300,000 unless told. */
  readonly ageing?: number;
  /** Bytes of frames that wait at a port with no room; what comes then is lost. 1 MiB unless told. */
  readonly queue?: number;
  /** The time in milliseconds; by `Date`, unless told. */
  readonly now?: () => number;
}

/** One port of a switch, to be connected by a cable. */
export interface SwitchPort extends Endpoint {
  /** Frames that were handed to what is connected here. */
  readonly sent: number;
  /** Frames that were lost as there was no room, nor any to wait in. */
  readonly lost: number;
  /** Takes the port out of the switch: what is known of it is forgotten. */
  remove(): void;
}

interface Learned {
  port: Port;
  seen: number;
}

/**
 * Frames that are handed over while one is: an answer to an answer. Only cables that make a loop have more, and there a frame
 * would go round for ever.
 */
const deepest = 32;

/** Milliseconds in which an address that was just seen is not looked at again. */
const freshness = 1000;

/**
 * A learning bridge between its ports. A frame goes to the port from which its destination was last heard, or to all others;
 * tags of VLANs are carried and not looked at. A port with no room loses frames, so that no other port waits for it.
 */
export class Switch {
  readonly #addresses = new Map<number, Learned>();
  readonly #ports = new Set<Port>();
  readonly #perPort: number;
  readonly #ageing: number;
  readonly #queue: number;
  readonly #now: () => number;
  #depth = 0;
  /** Frames that were lost as cables make a loop. */
  looped = 0;

  /** @throws {UsageError} BAD_ARGUMENT for a bound that is no number above 0 */
  constructor(options: SwitchOptions = {}) {
    const { addressesPerPort = 1024, ageing = 300_000, queue = 1 << 20, now = () => Date.now() } = options;
    for (const [name, value] of Object.entries({ addressesPerPort, ageing, queue })) {
      if (!(value > 0)) throw new UsageError('BAD_ARGUMENT', `${name} is a number above 0, not ${value}`);
    }
    this.#perPort = addressesPerPort;
    this.#ageing = ageing;
    this.#queue = queue;
    this.#now = now;
  }

  /** Addresses that are known. */
  get known(): number {
    return this.#addresses.size;
  }

  /** A new port. */
  port(): SwitchPort {
    const port = new Port(this.#queue, {
      came: (frame, offload) => this.#forward(port, frame, offload),
      gone: () => this.#forget(port),
      removed: () => {
        this.#forget(port);
        this.#ports.delete(port);
      },
    });
    this.#ports.add(port);
    return port;
  }

  #forward(from: Port, frame: Uint8Array, offload: Offload): void {
    if (frame.length < ethernetHeader || !this.#ports.has(from)) return;
    if (this.#depth === deepest) {
      this.looped++;
      return;
    }
    this.#learn(from, frame);
    this.#depth++;
    try {
      this.#send(from, frame, offload);
    } finally {
      this.#depth--;
    }
  }

  #send(from: Port, frame: Uint8Array, offload: Offload): void {
    if ((frame[0]! & 1) === 0) {
      const known = this.#addresses.get(macNumber(frame, 0));
      if (known !== undefined && this.#now() - known.seen < this.#ageing) {
        // It is on the side where the frame came from: that has it already.
        if (known.port !== from) known.port.send(frame, offload);
        return;
      }
    } else if (isLinkLocal(frame)) {
      return;
    }
    for (const port of this.#ports) if (port !== from) port.send(frame, offload);
  }

  #learn(from: Port, frame: Uint8Array): void {
    // A source that is a group is none.
    if ((frame[6]! & 1) !== 0) return;
    const source = macNumber(frame, 6);
    const now = this.#now();
    const known = this.#addresses.get(source);
    if (known?.port === from) {
      if (now - known.seen < freshness) return;
      known.seen = now;
      // The set of a port has what was heard last at its end.
      from.addresses.delete(source);
    } else {
      known?.port.addresses.delete(source);
      if (from.addresses.size >= this.#perPort) {
        for (const oldest of from.addresses) {
          from.addresses.delete(oldest);
          this.#addresses.delete(oldest);
          break;
        }
      }
      this.#addresses.set(source, { port: from, seen: now });
    }
    from.addresses.add(source);
  }

  #forget(port: Port): void {
    for (const known of port.addresses) this.#addresses.delete(known);
    port.addresses.clear();
  }
}

interface PortOwner {
  came(frame: Uint8Array, offload: Offload): void;
  gone(): void;
  removed(): void;
}

interface Waiting {
  readonly frame: Uint8Array;
  readonly offload: Offload;
}

class Port implements SwitchPort {
  /** Frames are handed on as they are: each cable finishes them for its other end. */
  readonly takes: TakenOffloads = allOffloads;
  readonly addresses = new Set<number>();
  sent = 0;
  lost = 0;
  readonly #capacity: number;
  readonly #owner: PortOwner;
  #link: Link | undefined;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #draining = false;

  constructor(capacity: number, owner: PortOwner) {
    this.#capacity = capacity;
    this.#owner = owner;
  }

  attached(link: Link): void {
    this.#link = link;
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    this.#owner.came(frame, offload);
    return true;
  }

  send(frame: Uint8Array, offload: Offload): void {
    const link = this.#link;
    if (link === undefined || !link.up) return;
    if (this.#waiting.length === 0 && link.send(frame, offload)) {
      this.sent++;
    } else if (this.#bytes + frame.length > this.#capacity) {
      this.lost++;
    } else {
      this.#bytes += frame.length;
      this.#waiting.push({ frame: frame.slice(), offload: copyOffload(offload) });
    }
  }

  room(): void {
    const link = this.#link;
    if (link === undefined || this.#draining) return;
    this.#draining = true;
    const waiting = this.#waiting;
    let given = 0;
    for (; given < waiting.length; given++) {
      const { frame, offload } = waiting[given]!;
      if (!link.send(frame, offload)) break;
      this.sent++;
      // The link may have been cut meanwhile: then these are lost already.
      if (waiting === this.#waiting) this.#bytes -= frame.length;
    }
    waiting.splice(0, given);
    this.#draining = false;
  }

  carrier(up: boolean): void {
    if (up) return;
    this.lost += this.#waiting.length;
    this.#waiting = [];
    this.#bytes = 0;
    this.#owner.gone();
  }

  remove(): void {
    this.carrier(false);
    this.#owner.removed();
    this.#link = undefined;
  }
}

/** Frames between neighbours on a link, such as those of spanning trees: a bridge does not forward them (802.1D, 7.12.6). */
function isLinkLocal(frame: Uint8Array): boolean {
  return (
    frame[0] === 0x01 &&
    frame[1] === 0x80 &&
    frame[2] === 0xc2 &&
    frame[3] === 0 &&
    frame[4] === 0 &&
    frame[5]! < 0x10
  );
}
