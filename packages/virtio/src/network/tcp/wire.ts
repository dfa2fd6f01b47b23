import type { TcpSegmentOut } from './interface.ts';

/** Bytes of header and payload that fit into a packet of IPv4, whose length has 16 bits; IPv6 has room for a little more. */
export const mostSegment = 65_515;

/** What is on its way down; there is one of it. */
class SegmentOut implements TcpSegmentOut {
  source: Uint8Array = new Uint8Array();
  destination: Uint8Array = this.source;
  readonly bytes: Uint8Array;
  readonly offset: number;
  length = 0;
  headerLength = 0;
  segmentSize = 0;

  constructor(headroom: number) {
    this.bytes = new Uint8Array(headroom + mostSegment);
    this.offset = headroom;
  }
}

/** The way down to IP: the one segment that is being sent, which waits here when there is no room. */
export class Wire {
  readonly #send: (segment: TcpSegmentOut) => boolean;
  readonly #segment: SegmentOut;
  /** A segment waits for room, and nothing else may be written. */
  blocked = false;

  constructor(headroom: number, send: (segment: TcpSegmentOut) => boolean) {
    this.#segment = new SegmentOut(headroom);
    this.#send = send;
  }

  /** Where the next segment is written to, from `offset` on. */
  get bytes(): Uint8Array {
    return this.#segment.bytes;
  }

  get offset(): number {
    return this.#segment.offset;
  }

  /** Sends what was written. When there is no room it waits, and counts as sent all the same. */
  send(
    source: Uint8Array,
    destination: Uint8Array,
    length: number,
    headerLength: number,
    segmentSize: number,
  ): void {
    const segment = this.#segment;
    segment.source = source;
    segment.destination = destination;
    segment.length = length;
    segment.headerLength = headerLength;
    segment.segmentSize = length - headerLength > segmentSize ? segmentSize : 0;
    this.blocked = !this.#send(segment);
  }

  /** There is room again. */
  room(): void {
    if (this.blocked) this.blocked = !this.#send(this.#segment);
  }
}
