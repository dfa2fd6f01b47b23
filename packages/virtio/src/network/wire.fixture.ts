import { get16, put16, put32 } from '../link/bytes.ts';
import {
  type Endpoint,
  finished,
  internetChecksum,
  type Link,
  macAddress,
  macText,
  noOffloads,
  type Offload,
  type TakenOffloads,
  transportChecksum,
} from '../link/index.ts';
import { addressFrom, formatAddress } from './address.ts';
import { pseudoSum } from './pseudo-header.ts';
import type { Clock } from './tcp/index.ts';

/** Time that passes when a test says so. */
export class SimulatedClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly fire: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimer(milliseconds: number, fire: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, milliseconds), fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      let next: { readonly at: number; readonly fire: () => void } | undefined;
      for (const timer of this.#timers)
        if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.fire();
    }
    this.#now = end;
  }
}

/** A frame of IP as a test looks at it. */
export interface SeenPacket {
  readonly frame: Uint8Array;
  readonly mac: string;
  readonly version: number;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly hopLimit: number;
  /** Of IPv4, fragment field; of IPv6 0. */
  readonly fragment: number;
  readonly payload: Uint8Array;
}

/** The guest's end of a link, by hand: frames are given to an endpoint, and what it sends is kept. */
export class Wire implements Link {
  readonly endpoint: Endpoint;
  readonly sent: { readonly frame: Uint8Array; readonly offload: Offload }[] = [];
  up = true;
  takes: TakenOffloads;
  /** How many frames the guest has room for. */
  space = Number.POSITIVE_INFINITY;
  roomCalls = 0;
  /** Hears of each frame as it comes. */
  onFrame: ((frame: Uint8Array, offload: Offload) => void) | undefined;

  constructor(endpoint: Endpoint, takes = noOffloads) {
    this.endpoint = endpoint;
    this.takes = takes;
    endpoint.attached(this);
  }

  send(frame: Uint8Array, offload: Offload = finished): boolean {
    if (this.space <= 0) return false;
    this.space--;
    this.sent.push({ frame: frame.slice(), offload: { ...offload } });
    this.onFrame?.(frame, offload);
    return true;
  }

  room(): void {
    this.roomCalls++;
  }

  give(frame: Uint8Array, offload: Offload = finished): boolean {
    return this.endpoint.receive(frame, offload);
  }

  /** What was sent since the last time somebody asked. */
  take(): Uint8Array[] {
    return this.sent.splice(0).map(({ frame }) => frame);
  }

  /** The packets of IP among them. */
  packets(): SeenPacket[] {
    return this.take().flatMap((frame) => seenPacket(frame) ?? []);
  }
}

export const hostMac: Uint8Array = macAddress('52:55:0a:00:02:02');
export const guestMac: Uint8Array = macAddress('52:54:00:12:34:56');
export const broadcastMac: Uint8Array = macAddress('ff:ff:ff:ff:ff:ff');
const nobodysMac: Uint8Array = macAddress('00:00:00:00:00:00');

export function bytesOf(...parts: (Uint8Array | readonly number[] | string)[]): Uint8Array {
  const all = parts.map((part) => (typeof part === 'string' ? hex(part) : Uint8Array.from(part)));
  const whole = new Uint8Array(all.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of all) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (byte) => Number.parseInt(byte, 16));
}

export function ip(text: string): Uint8Array {
  const address = addressFrom(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export function ethernet(to: Uint8Array, type: number, payload: Uint8Array, from = guestMac): Uint8Array {
  return bytesOf(to, from, [type >> 8, type & 0xff], payload);
}

export interface HeaderOptions {
  readonly hopLimit?: number;
  readonly identification?: number;
  /** The whole field of flags and offset. */
  readonly fragment?: number;
  readonly options?: Uint8Array;
  readonly mac?: Uint8Array;
  readonly from?: Uint8Array;
}

export function ipv4(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  {
    hopLimit = 64,
    identification = 1,
    fragment = 0,
    options = new Uint8Array(),
    mac,
    from,
  }: HeaderOptions = {},
): Uint8Array {
  const header = new Uint8Array(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  put16(header, 2, header.length + payload.length);
  put16(header, 4, identification);
  put16(header, 6, fragment);
  header[8] = hopLimit;
  header[9] = protocol;
  header.set(ip(source), 12);
  header.set(ip(destination), 16);
  header.set(options, 20);
  put16(header, 10, internetChecksum(header, 0, header.length));
  return ethernet(mac ?? hostMac, 0x0800, bytesOf(header, payload), from);
}

export function ipv6(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  { hopLimit = 64, mac, from }: HeaderOptions = {},
): Uint8Array {
  const header = new Uint8Array(40);
  header[0] = 0x60;
  put16(header, 4, payload.length);
  header[6] = protocol;
  header[7] = hopLimit;
  header.set(ip(source), 8);
  header.set(ip(destination), 24);
  return ethernet(mac ?? hostMac, 0x86dd, bytesOf(header, payload), from);
}

/** A header of UDP and its payload, with a right checksum. */
export function udp(
  source: string,
  destination: string,
  sourcePort: number,
  port: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = bytesOf(new Uint8Array(8), payload);
  put16(bytes, 0, sourcePort);
  put16(bytes, 2, port);
  put16(bytes, 4, bytes.length);
  const pseudo = pseudoSum(ip(source), ip(destination), 17, bytes.length);
  put16(bytes, 6, transportChecksum(bytes, 0, bytes.length, pseudo));
  return bytes;
}

/** A frame with a datagram. */
export function udpFrame(
  [source, sourcePort]: readonly [string, number],
  [destination, port]: readonly [string, number],
  payload: Uint8Array,
  options?: HeaderOptions,
): Uint8Array {
  const make = source.includes(':') ? ipv6 : ipv4;
  return make(source, destination, 17, udp(source, destination, sourcePort, port, payload), options);
}

/** A message of ICMP with a right checksum. */
export function icmp4(type: number, code: number, rest: Uint8Array): Uint8Array {
  const bytes = bytesOf([type, code, 0, 0], rest);
  put16(bytes, 2, internetChecksum(bytes, 0, bytes.length));
  return bytes;
}

export function icmp6(
  source: string,
  destination: string,
  type: number,
  code: number,
  rest: Uint8Array,
): Uint8Array {
  const bytes = bytesOf([type, code, 0, 0], rest);
  const pseudo = pseudoSum(ip(source), ip(destination), 58, bytes.length);
  put16(bytes, 2, transportChecksum(bytes, 0, bytes.length, pseudo));
  return bytes;
}

export function arp(kind: number, mac: Uint8Array, sender: string, target: string): Uint8Array {
  const bytes = bytesOf('0001 0800 06 04 00', [kind], mac, ip(sender), nobodysMac, ip(target));
  return ethernet(broadcastMac, 0x0806, bytes, mac);
}

/** Reads a frame of IP; `undefined` of any other. */
export function seenPacket(frame: Uint8Array): SeenPacket | undefined {
  const mac = macText(frame.subarray(0, 6));
  const type = get16(frame, 12);
  if (type === 0x0800) {
    if (internetChecksum(frame, 14, 34) !== 0) throw new Error('a header with a wrong checksum was sent');
    return {
      frame,
      mac,
      version: 4,
      source: formatAddress(frame.subarray(26, 30)),
      destination: formatAddress(frame.subarray(30, 34)),
      protocol: frame[23]!,
      hopLimit: frame[22]!,
      fragment: get16(frame, 20),
      payload: frame.subarray(34, 14 + get16(frame, 16)),
    };
  }
  if (type !== 0x86dd) return undefined;
  return {
    frame,
    mac,
    version: 6,
    source: formatAddress(frame.subarray(22, 38)),
    destination: formatAddress(frame.subarray(38, 54)),
    protocol: frame[20]!,
    hopLimit: frame[21]!,
    fragment: 0,
    payload: frame.subarray(54, 54 + get16(frame, 18)),
  };
}

/** True when the transport's checksum of a packet is right. */
export function rightChecksum({ source, destination, protocol, payload }: SeenPacket): boolean {
  const pseudo = protocol === 1 ? 0 : pseudoSum(ip(source), ip(destination), protocol, payload.length);
  return internetChecksum(payload, 0, payload.length, pseudo) === 0;
}

/** A message of DHCP from a guest. */
export function dhcp(
  options: readonly (readonly [code: number, ...value: number[]])[],
  { mac = guestMac, client = '0.0.0.0', flags = 0 } = {},
): Uint8Array {
  const head = new Uint8Array(240);
  head.set([1, 1, 6]);
  put32(head, 4, 0x1234_5678);
  put16(head, 10, flags);
  head.set(ip(client), 12);
  head.set(mac, 28);
  put32(head, 236, 0x6382_5363);
  const rest = options.flatMap(([code, ...value]) => [code, value.length, ...value]);
  return bytesOf(head, rest, [255]);
}

/** The options of an answer of DHCP. */
export function dhcpOptions(payload: Uint8Array): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (let at = 240; payload[at] !== 255; at += 2 + payload[at + 1]!) {
    found.set(payload[at]!, Array.from(payload.subarray(at + 2, at + 2 + payload[at + 1]!)));
  }
  return found;
}
