import { UsageError } from '../errors.ts';
import { type Backing, nowhere, Region, type RegionOptions } from './region.ts';

/** The largest guest address that a number holds exactly. */
const addressLimit = 2 ** 53;

/** What a device wants to do with memory behind an address; a translation may allow one and not the other. */
export type Access = 'read' | 'write';

/** A piece of guest-physical memory that a translation yields. */
export interface Translation {
  /** Guest-physical address. */
  readonly address: number;
  /** Bytes from there that are contiguous under this translation; at least 1. */
  readonly length: number;
}

/**
 * Translates bus addresses, for VIRTIO_F_ACCESS_PLATFORM: an IOMMU, or a bounce area.
 * `undefined` means that the access is not allowed.
 */
export type Translator = (address: number, length: number, access: Access) => Translation | undefined;

/** Called for each contiguous piece of a range: `offset` counts bytes from the region's start. */
export type PieceSink = (region: Region, offset: number, length: number) => void;

/**
 * The memory that a driver and its device share. There is this class alone: hosts differ by their regions.
 * Addresses are numbers of bytes, refused above 2^53; ranges never wrap.
 */
export class GuestMemory {
  /**
   * Hears of each contiguous piece that a device has written, when it completes the buffer: for hosts that
   * track changed memory, or keep code that was compiled from it. It must not throw.
   */
  onDeviceWrite: PieceSink | undefined;

  readonly #regions: Region[];
  /** @internal What `version` counts, once for all views of the same regions: hot code looks here. */
  readonly changes: { count: number };
  readonly #translate: Translator | undefined;
  #last: Region;

  /** Empty; or, given another and a translation, what a device sees of that one's regions. */
  constructor(behind?: { readonly memory: GuestMemory; readonly translate: Translator }) {
    this.#regions = behind === undefined ? [] : behind.memory.#regions;
    this.changes = behind === undefined ? { count: 0 } : behind.memory.changes;
    this.#translate = behind?.translate;
    this.#last = nowhere;
  }

  /** One region from address 0 over a new buffer: the memory of tests and of the loopback. */
  static ofSize(length: number, start = 0): GuestMemory {
    const memory = new GuestMemory();
    memory.addRegion(start, { buffer: new ArrayBuffer(length) }, { pinned: true });
    return memory;
  }

  /** Rises whenever a region is added, removed or remapped: who caches views compares it. */
  get version(): number {
    return this.changes.count;
  }

  /** The regions by rising address. */
  get regions(): readonly Region[] {
    return this.#regions;
  }

  /**
   * Adds guest memory at an address.
   *
   * @throws {UsageError} BAD_ARGUMENT when it overlaps another region or leaves the 53-bit address space, or
   * is shared and not aligned to 4 bytes.
   */
  addRegion(start: number, backing: Backing, options: RegionOptions = {}): Region {
    const region = new Region(start, backing, options);
    if (!Number.isSafeInteger(start) || start < 0 || region.end > addressLimit) {
      throw new UsageError('BAD_ARGUMENT', `no region can start at address ${start}`);
    }
    for (const other of this.#regions) {
      if (start < other.end && other.start < region.end) {
        throw new UsageError('BAD_ARGUMENT', `a region at ${start} overlaps the one at ${other.start}`);
      }
    }
    this.#regions.push(region);
    this.#regions.sort((a, b) => a.start - b.start);
    this.changes.count++;
    return region;
  }

  /** Takes a region away. Whoever still holds it finds it empty. */
  removeRegion(region: Region): void {
    const index = this.#regions.indexOf(region);
    if (index === -1) throw new UsageError('BAD_ARGUMENT', 'the region is not in this memory');
    this.#regions.splice(index, 1);
    region.replace(undefined);
    this.#last = nowhere;
    this.changes.count++;
  }

  /**
   * Puts other bytes behind a region, as when an engine has moved its memory. The length stays.
   *
   * @throws {UsageError} BAD_ARGUMENT when the new bytes are of another length, or the region was removed.
   */
  remap(region: Region, backing: Backing): void {
    if (region.removed) throw new UsageError('BAD_ARGUMENT', 'the region is not in this memory');
    const length = backing.byteLength ?? backing.buffer.byteLength - (backing.byteOffset ?? 0);
    if (length !== region.length) {
      throw new UsageError('BAD_ARGUMENT', `a remap from ${region.length} to ${length} bytes`);
    }
    region.replace(backing);
    this.changes.count++;
  }

  /** The same regions as a device sees them behind a translation. */
  translated(translate: Translator): GuestMemory {
    const behind = new GuestMemory({ memory: this, translate });
    behind.onDeviceWrite = (...piece) => this.onDeviceWrite?.(...piece);
    return behind;
  }

  /**
   * The region that holds all of a range, or `undefined`: when the range is not in memory, spans regions, or
   * is translated; `pieces` then tells these apart. Takes any number and never throws.
   */
  find(address: number, length: number): Region | undefined {
    if (this.#translate !== undefined) return undefined;
    const last = this.#last;
    if (address >= last.start && address + length <= last.end) return last;
    const regions = this.#regions;
    for (let i = 0; i < regions.length; i++) {
      const region = regions[i]!;
      if (address >= region.start && address + length <= region.end) {
        this.#last = region;
        return region;
      }
    }
    return undefined;
  }

  /**
   * Gives each contiguous piece of a range in turn. Returns false, having given none of the bytes behind
   * the fault, when any part is not memory or the translation refuses it.
   */
  pieces(address: number, length: number, access: Access, sink: PieceSink): boolean {
    let at = address;
    let left = length;
    while (left > 0) {
      let physical = at;
      let run = left;
      if (this.#translate !== undefined) {
        const translation = this.#translate(at, left, access);
        if (translation === undefined || !(translation.length >= 1)) return false;
        physical = translation.address;
        run = Math.min(left, translation.length);
      }
      const region = this.#regionAt(physical);
      if (region === undefined) return false;
      const offset = physical - region.start;
      const taken = Math.min(run, region.length - offset);
      sink(region, offset, taken);
      at += taken;
      left -= taken;
    }
    return true;
  }

  /** True when every byte of the range is memory that the access may touch. */
  contains(address: number, length: number, access: Access = 'read'): boolean {
    return this.find(address, length) !== undefined || this.pieces(address, length, access, ignorePiece);
  }

  /**
   * A copy of bytes out of memory.
   *
   * @throws {UsageError} OUT_OF_BOUNDS when any of them is not memory.
   */
  read(address: number, length: number): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(length);
    let done = 0;
    const whole = this.pieces(address, length, 'read', (region, offset, count) => {
      copy.set(region.bytes.subarray(offset, offset + count), done);
      done += count;
    });
    if (!whole) throw outOfBounds(address, length);
    return copy;
  }

  /**
   * Copies bytes into memory; all of them or none.
   *
   * @throws {UsageError} OUT_OF_BOUNDS when any of the range is not memory.
   */
  write(address: number, bytes: Uint8Array): void {
    if (!this.contains(address, bytes.length, 'write')) throw outOfBounds(address, bytes.length);
    let done = 0;
    this.pieces(address, bytes.length, 'write', (region, offset, count) => {
      region.bytes.set(bytes.subarray(done, done + count), offset);
      done += count;
    });
  }

  #regionAt(address: number): Region | undefined {
    for (const region of this.#regions) {
      if (address >= region.start && address < region.end) return region;
    }
    return undefined;
  }
}

const ignorePiece: PieceSink = () => {};

function outOfBounds(address: number, length: number): UsageError {
  return new UsageError(
    'OUT_OF_BOUNDS',
    `${length} bytes at address 0x${address.toString(16)} are not all memory`,
  );
}
