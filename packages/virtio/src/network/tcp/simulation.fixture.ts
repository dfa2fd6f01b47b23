import { finished } from '../../link/index.ts';
import type { Clock } from './clock.ts';
import type { TcpOptions, TcpPacketIn, TcpSegmentOut } from './interface.ts';
import { Segment } from './segment.ts';
import { TcpStack } from './stack.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  fire: (() => void) | undefined;
}

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** Time that passes only when a test says so. */
export class SimulatedClock implements Clock {
  #now = 0;
  #order = 0;
  /** A heap; timers that were taken back lie in it until their time comes. */
  readonly #timers: Timer[] = [];
  /** Timers that are set. */
  pending = 0;

  now(): number {
    return this.#now;
  }

  setTimer(milliseconds: number, fire: () => void): () => void {
    const timer: Timer = { at: this.#now + milliseconds, order: this.#order++, fire };
    this.pending++;
    this.#add(timer);
    return () => {
      if (timer.fire !== undefined) this.pending--;
      timer.fire = undefined;
    };
  }

  /** Lets time pass to the next timer, if that is not behind `limit`. False when there is none. */
  step(limit = Number.POSITIVE_INFINITY): boolean {
    for (let next = this.#timers[0]; next !== undefined && next.at <= limit; next = this.#timers[0]) {
      this.#removeFirst();
      const { fire } = next;
      if (fire === undefined) continue;
      next.fire = undefined;
      this.pending--;
      this.#now = Math.max(this.#now, next.at);
      fire();
      return true;
    }
    return false;
  }

  #add(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.length;
    for (let above = (at - 1) >> 1; at > 0 && isBefore(timer, heap[above]!); above = (at - 1) >> 1) {
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = timer;
  }

  #removeFirst(): void {
    const heap = this.#timers;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (let below = 1; below < heap.length; below = 2 * at + 1) {
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++;
      if (!isBefore(heap[below]!, last)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
  }

  /** Lets so many milliseconds pass. */
  pass(milliseconds: number): void {
    const limit = this.#now + milliseconds;
    while (this.step(limit));
    this.#now = limit;
  }
}

/** Numbers that look random, the same for the same seed, from 0 to 1. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Fills bytes as `seeded` has them. */
export function seededBytes(seed: number): (bytes: Uint8Array) => void {
  const random = seeded(seed);
  return (bytes) => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(random() * 256);
  };
}

/** A segment on its way, copied; cut to what a wire would carry. */
export interface Packet extends TcpPacketIn {
  readonly segment: Segment;
}

/** Copies a segment as packets of one segment each would carry it. */
export function packetsOf(out: TcpSegmentOut): Packet[] {
  const { source, destination, offset, length, headerLength, segmentSize } = out;
  const payload = length - headerLength;
  const size = segmentSize === 0 ? payload : segmentSize;
  const packets: Packet[] = [];
  for (let at = 0; at === 0 || at < payload; at += Math.max(size, 1)) {
    const run = Math.min(size, payload - at);
    const bytes = new Uint8Array(headerLength + run);
    bytes.set(out.bytes.subarray(offset, offset + headerLength));
    bytes.set(out.bytes.subarray(offset + headerLength + at, offset + headerLength + at + run), headerLength);
    const view = new DataView(bytes.buffer);
    view.setInt32(4, view.getInt32(4) + at);
    // PSH and FIN are of the last piece alone.
    if (at + run < payload) bytes[13] = bytes[13]! & ~0x09;
    packets.push(packet(source.slice(), destination.slice(), bytes));
  }
  return packets;
}

export function packet(source: Uint8Array, destination: Uint8Array, bytes: Uint8Array): Packet {
  const segment = new Segment();
  if (!segment.parse(bytes, 0, bytes.length)) throw new Error('a test sent what is no segment');
  const offload = { ...finished, checksumValid: true };
  return { source, destination, bytes, offset: 0, length: bytes.length, offload, segment };
}

/** What a link does to the packets on it. */
export interface LinkFaults {
  /** Milliseconds that a packet takes, and by how many it may be late. */
  readonly delay: number;
  readonly jitter: number;
  /** How likely it is that a packet is lost, or comes twice. */
  readonly loss: number;
  readonly duplication: number;
}

/** Two stacks over a link that may lose, delay and double packets. */
export class Pair {
  readonly clock = new SimulatedClock();
  readonly a: TcpStack;
  readonly b: TcpStack;
  /** Every packet, as it was sent, whether it arrives or not. */
  watch: ((packet: Packet, fromA: boolean) => void) | undefined;
  faults: LinkFaults;
  readonly #random: () => number;

  constructor(
    options: {
      readonly seed?: number;
      readonly faults?: Partial<LinkFaults>;
      readonly a?: Partial<TcpOptions>;
      readonly b?: Partial<TcpOptions>;
    } = {},
  ) {
    const { seed = 1 } = options;
    this.faults = { delay: 1, jitter: 0, loss: 0, duplication: 0, ...options.faults };
    this.#random = seeded(seed);
    const { clock } = this;
    const send = (fromA: boolean) => (segment: TcpSegmentOut) => {
      for (const one of packetsOf(segment)) this.#carry(one, fromA);
      return true;
    };
    this.a = new TcpStack({ clock, random: seededBytes(seed), send: send(true), ...options.a });
    this.b = new TcpStack({ clock, random: seededBytes(seed + 1), send: send(false), ...options.b });
  }

  #carry(one: Packet, fromA: boolean): void {
    this.watch?.(one, fromA);
    const { delay, jitter, loss, duplication } = this.faults;
    const to = fromA ? this.b : this.a;
    const copies = this.#random() < duplication ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.#random() < loss) continue;
      this.clock.setTimer(delay + this.#random() * jitter, () => to.receive(one));
    }
  }
}

export const addressA = Uint8Array.of(10, 0, 2, 2);
export const addressB = Uint8Array.of(10, 0, 2, 15);

/** Lets everything that waits for a promise go on. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
