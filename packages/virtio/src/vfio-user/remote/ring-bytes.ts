import { pvirtqDescFlags } from '../../virtqueue/packed/layout.ts';
import { Position } from '../../virtqueue/packed/position.ts';
import type { DeviceQueueState } from '../../virtqueue/queue.ts';
import { virtqDescFlags } from '../../virtqueue/split/layout.ts';

/** One of the three areas of a virtqueue. */
export type AreaName = 'descriptor' | 'driver' | 'device';

/** One of those that a driver writes. */
export type DriverArea = Exclude<AreaName, 'device'>;

/** The bytes of the areas that a driver writes, as they were at one time. */
export interface DriverBytes {
  readonly descriptor: DataView;
  readonly driver: DataView;
}

/** Bytes that a device writes into a ring, and no driver at the same time. */
export interface Cell {
  readonly area: AreaName;
  readonly start: number;
  readonly end: number;
  /** The driver believes the other bytes once it sees these, which are written last. */
  readonly shows: boolean;
}

/** Where an indirect table is. */
export interface TablePlace {
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** What is available in a ring. */
export interface Available {
  readonly count: number;
  /** The indirect tables of these buffers. */
  readonly tables: readonly TablePlace[];
  /** More is there, which has to wait. */
  readonly more: boolean;
}

/** Bytes of the largest indirect table that there can be. */
export const mostTableBytes: number = 16 * 0x1_0000;
/** Bytes of tables at a time. */
const enoughTableBytes = 16 * mostTableBytes;

/** What must be known of one of the two kinds of rings to carry its bytes to another memory and back. */
export interface RingBytes {
  /** Read first; what they do not say yet is not looked at, although it may be there when the rest is read. */
  readonly first: readonly DriverArea[];
  cells(size: number): readonly Cell[];
  /** Tells what is available from a position on, and hides in `now` what came after `seen` was read, or has to wait. */
  settle(
    seen: DriverBytes,
    now: DriverBytes,
    size: number,
    position: Omit<DeviceQueueState, 'inFlight'>,
    little: boolean,
  ): Available;
}

/** Split rings: the available index says what is there. */
export const splitBytes: RingBytes = {
  first: ['driver'],
  cells: (size) => [
    { area: 'device', start: 0, end: 2, shows: true },
    { area: 'device', start: 2, end: 4, shows: true },
    { area: 'device', start: 4, end: 4 + 8 * size, shows: false },
    { area: 'device', start: 4 + 8 * size, end: 6 + 8 * size, shows: true },
  ],
  settle(seen, now, size, { nextAvailable }, little) {
    const { NEXT, INDIRECT } = virtqDescFlags;
    const tables = new Tables(now.descriptor, little);
    const index = seen.driver.getUint16(2, little);
    const ahead = (index - nextAvailable) & 0xffff;
    // A ring that is further ahead than it can be is none; the queue says so when it looks.
    const most = ahead > size ? 0 : ahead;
    let count = 0;
    for (; count < most && !tables.enough; count++) {
      let at = now.driver.getUint16(4 + 2 * ((nextAvailable + count) % size), little);
      for (let links = 0; at < size && links < size; links++) {
        const flags = now.descriptor.getUint16(16 * at + 12, little);
        if ((flags & INDIRECT) !== 0) tables.add(at);
        if ((flags & (INDIRECT | NEXT)) !== NEXT) break;
        at = now.descriptor.getUint16(16 * at + 14, little);
      }
    }
    const more = count < most;
    now.driver.setUint16(2, more ? nextAvailable + count : index, little);
    return { count: ahead, tables: tables.places, more };
  },
};

/** Packed rings: each descriptor says for itself whether it is there. */
export const packedBytes: RingBytes = {
  first: ['descriptor', 'driver'],
  cells: (size) => [
    ...Array.from({ length: size }, (_, i): readonly Cell[] => [
      { area: 'descriptor', start: 16 * i, end: 16 * i + 14, shows: false },
      { area: 'descriptor', start: 16 * i + 14, end: 16 * i + 16, shows: true },
    ]).flat(),
    { area: 'device', start: 0, end: 4, shows: true },
  ],
  settle(seen, now, size, { nextAvailable, availableWrap }) {
    const { NEXT, INDIRECT, AVAIL, USED } = pvirtqDescFlags;
    const tables = new Tables(now.descriptor, true);
    const position = new Position(size, nextAvailable, availableWrap);
    let count = 0;
    for (let left = size; left > 0; ) {
      const at = 16 * position.offset + 14;
      const flags = seen.descriptor.getUint16(at, true);
      const isThere = (flags & (AVAIL | USED)) === position.availableBits;
      if (!isThere || tables.enough) {
        now.descriptor.setUint16(at, isThere ? flags ^ AVAIL : flags, true);
        return { count, tables: tables.places, more: isThere };
      }
      count++;
      if ((now.descriptor.getUint16(at, true) & INDIRECT) !== 0) tables.add(position.offset);
      for (let isLinked = true; isLinked && left > 0; left--) {
        isLinked = (now.descriptor.getUint16(16 * position.offset + 14, true) & NEXT) !== 0;
        position.advance(1);
      }
    }
    return { count, tables: tables.places, more: false };
  },
};

/** The tables that descriptors refer to. */
class Tables {
  readonly places: TablePlace[] = [];
  readonly #descriptors: DataView;
  readonly #little: boolean;
  #length = 0;

  constructor(descriptors: DataView, little: boolean) {
    this.#descriptors = descriptors;
    this.#little = little;
  }

  get enough(): boolean {
    return this.#length >= enoughTableBytes;
  }

  add(index: number): void {
    const at = 16 * index;
    const [low, high] = this.#little ? [at, at + 4] : [at + 4, at];
    const word = (offset: number): number => this.#descriptors.getUint32(offset, this.#little);
    const length = word(at + 8);
    this.places.push({ address: word(high) * 2 ** 32 + word(low), length });
    this.#length += Math.min(length, mostTableBytes);
  }
}
