import { ccwFlag } from './ccw.ts';
import type { GuestAccess } from './guest-access.ts';
import { subchannelStatus } from './status.ts';

/** A CCW as it was fetched, whatever its format. */
export interface FetchedCcw {
  readonly address: number;
  readonly code: number;
  readonly flags: number;
  /** Bytes. */
  readonly count: number;
  readonly cda: number;
}

/** How the addresses of a channel program are to be understood: what its ORB says. */
export interface AddressRules {
  /** CCWs are of format 1: 31 bits of an address, not 24. */
  readonly format1: boolean;
  /** Indirect-data-address words have 64 bits. */
  readonly idaw64: boolean;
  /** Bytes that one of them is for: 2048 or 4096. */
  readonly idawBlock: number;
}

/**
 * The data of one channel command, wherever its CCWs say that they are: one behind the other by data chaining, cut
 * into blocks by indirect addressing. Offsets count bytes from the start of the command's data.
 */
export class ChannelData {
  /** What the channel met: bits of the subchannel status. The command goes no further then. */
  check = 0;
  /** The bytes that the device has used, from the start. */
  used = 0;

  readonly #guest: GuestAccess;
  readonly #rules: AddressRules;
  /** Fetches the CCW that the data go on in, behind the one that chains them. */
  readonly #fetchNext: (chained: FetchedCcw) => FetchedCcw | number;
  readonly #ccws: FetchedCcw[];
  #fetched: number;

  constructor(
    guest: GuestAccess,
    rules: AddressRules,
    first: FetchedCcw,
    fetchNext: (chained: FetchedCcw) => FetchedCcw | number,
  ) {
    this.#guest = guest;
    this.#rules = rules;
    this.#fetchNext = fetchNext;
    this.#ccws = [first];
    this.#fetched = first.count;
  }

  /** The CCW that the channel is at. */
  get current(): FetchedCcw {
    return this.#ccws[this.#ccws.length - 1]!;
  }

  /** The bytes of the current CCW that are left. */
  get residual(): number {
    return Math.min(this.current.count, Math.max(0, this.#fetched - this.used));
  }

  /** True when the program gives more bytes than were used, or goes on chaining data. */
  get left(): boolean {
    return this.#fetched > this.used || (this.current.flags & ccwFlag.CD) !== 0;
  }

  /** How many bytes there are, up to `most`. */
  available(most: number): number {
    while (this.#fetched < most && (this.current.flags & ccwFlag.CD) !== 0 && this.check === 0) {
      const next = this.#fetchNext(this.current);
      if (typeof next === 'number') this.check |= next;
      else {
        this.#ccws.push(next);
        this.#fetched += next.count;
      }
    }
    return Math.min(most, this.#fetched);
  }

  /** Bytes that the program gives; `undefined` when there are fewer, or they cannot be reached. */
  read(offset: number, length: number): DataView | undefined {
    const there = this.available(offset + length);
    if (there < offset + length) this.used = Math.max(this.used, there);
    if (there < offset + length || this.check !== 0) return undefined;
    const bytes = new Uint8Array(length);
    this.#pieces(offset, length, (address, at, count) => {
      const piece = this.#guest.read(address, count);
      if (piece === undefined) return false;
      bytes.set(new Uint8Array(piece.buffer), at);
      return true;
    });
    return this.check === 0 ? new DataView(bytes.buffer) : undefined;
  }

  /** Stores bytes, as many as the program has room for. Where it skips, they are used and not stored. */
  write(offset: number, bytes: Uint8Array): void {
    const length = this.available(offset + bytes.length) - offset;
    if (length <= 0 || this.check !== 0) return;
    this.#pieces(offset, length, (address, at, count, ccw) => {
      if ((ccw.flags & ccwFlag.SKIP) !== 0) return true;
      return this.#guest.write(address, bytes.subarray(at, at + count));
    });
  }

  /** Gives each piece of a range until one cannot be reached. */
  #pieces(
    offset: number,
    length: number,
    visit: (address: number, at: number, count: number, ccw: FetchedCcw) => boolean,
  ): void {
    let start = 0;
    for (const ccw of this.#ccws) {
      const from = Math.max(offset, start);
      const end = Math.min(offset + length, start + ccw.count);
      for (let at = from; at < end; ) {
        const place = this.#place(ccw, at - start);
        const count = Math.min(end - at, place?.length ?? 0);
        if (place === undefined || !this.#reachable(place.address, count)) this.check |= programCheck;
        else if (!visit(place.address, at - offset, count, ccw)) this.check |= programCheck;
        if (this.check !== 0) return;
        at += count;
      }
      start += ccw.count;
    }
    this.used = Math.max(this.used, offset + length);
  }

  #reachable(address: number, count: number): boolean {
    return this.#rules.idaw64 || address + count <= 2 ** 31;
  }

  /** Where a byte of a CCW's data is, and how many follow it in one piece; `undefined` for a bad address word. */
  #place(ccw: FetchedCcw, offset: number): { address: number; length: number } | undefined {
    if ((ccw.flags & ccwFlag.IDA) === 0) return { address: ccw.cda + offset, length: ccw.count - offset };
    const { idawBlock } = this.#rules;
    const first = this.#idaw(ccw.cda, 0);
    if (first === undefined) return undefined;
    const inFirst = idawBlock - (first % idawBlock);
    if (offset < inFirst) return { address: first + offset, length: inFirst - offset };
    const behind = offset - inFirst;
    const word = this.#idaw(ccw.cda, 1 + Math.floor(behind / idawBlock));
    // Only the first of them may begin within a block.
    if (word === undefined || word % idawBlock !== 0) return undefined;
    const inBlock = behind % idawBlock;
    return { address: word + inBlock, length: idawBlock - inBlock };
  }

  #idaw(list: number, index: number): number | undefined {
    const size = this.#rules.idaw64 ? 8 : 4;
    if (list % size !== 0) return undefined;
    const view = this.#guest.read(list + index * size, size);
    if (view === undefined) return undefined;
    if (this.#rules.idaw64) return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
    const word = view.getUint32(0);
    return word < 2 ** 31 ? word : undefined;
  }
}

const programCheck = subchannelStatus.PROGRAM_CHECK;
