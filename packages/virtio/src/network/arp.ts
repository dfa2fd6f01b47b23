import { get16, put16, put32 } from '../link/bytes.ts';
import { ethernetHeader, etherType } from '../link/numbers.ts';
import type { Neighbours } from './neighbours.ts';
import type { Settings } from './options.ts';
import type { Output } from './output.ts';
import type { Plan } from './plan.ts';
import type { Statistics } from './statistics.ts';

const length = 28;
const operation = Object.freeze({ REQUEST: 1, REPLY: 2 } as const);

/** Which station has which address of IPv4: RFC 826. */
export class Arp {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #plan: Pick<Plan, 'isGuest' | 'isOwn'>;
  readonly #output: Output;
  readonly #neighbours: Neighbours;
  readonly #frame = new Uint8Array(ethernetHeader + length);

  constructor(
    settings: Settings,
    statistics: Statistics,
    plan: Pick<Plan, 'isGuest' | 'isOwn'>,
    output: Output,
    neighbours: Neighbours,
  ) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#plan = plan;
    this.#output = output;
    this.#neighbours = neighbours;
  }

  receive(frame: Uint8Array, start: number): void {
    if (frame.length - start < length) {
      this.#statistics.drop('truncated');
      return;
    }
    const ethernet = get16(frame, start) === 1 && frame[start + 4] === 6;
    const ip = get16(frame, start + 2) === etherType.IPV4 && frame[start + 5] === 4;
    const kind = get16(frame, start + 6);
    const group = (frame[start + 8]! & 1) !== 0;
    if (!ethernet || !ip || group || (kind !== operation.REQUEST && kind !== operation.REPLY)) {
      this.#statistics.drop('malformed');
      return;
    }
    const mac = frame.subarray(start + 8, start + 14);
    const sender = frame.subarray(start + 14, start + 18);
    const target = frame.subarray(start + 24, start + 28);
    // One that asks whether an address is free has none yet: RFC 5227.
    const probe = sender.every((byte) => byte === 0);
    if (!probe && !this.#plan.isGuest(sender)) {
      // Whoever claims an address of ours, to keep it, is told that it is taken.
      if (this.#plan.isOwn(sender)) this.#send(operation.REPLY, sender, mac, sender);
      this.#statistics.drop('bad-source');
      return;
    }
    if (!probe) this.#neighbours.learn(sender, mac);
    if (kind === operation.REQUEST && this.#plan.isOwn(target)) {
      this.#send(operation.REPLY, target, mac, sender);
    }
  }

  /** Asks the link who has an address. */
  ask(address: Uint8Array): void {
    const { ipv4 } = this.#settings;
    if (ipv4 !== undefined) this.#send(operation.REQUEST, ipv4.host, undefined, address);
  }

  /** Sends what says that `own` is ours; to everybody when nobody is named. */
  #send(kind: number, own: Uint8Array, mac: Uint8Array | undefined, address: Uint8Array): void {
    const frame = this.#frame;
    if (mac === undefined) frame.fill(0xff, 0, 6);
    else frame.set(mac, 0);
    frame.set(this.#settings.mac, 6);
    put16(frame, 12, etherType.ARP);
    put32(frame, 14, 0x0001_0800);
    put16(frame, 18, 0x0604);
    put16(frame, 20, kind);
    frame.set(this.#settings.mac, 22);
    frame.set(own, 28);
    if (mac === undefined) frame.fill(0, 32, 38);
    else frame.set(mac, 32);
    frame.set(address, 38);
    this.#output.send(frame);
  }
}
