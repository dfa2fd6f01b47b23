import { after, type Eventually, eachInTurn } from '../../device/eventually.ts';
import { UsageError } from '../../errors.ts';
import { sectorSize } from './spec.ts';
import type { Storage } from './storage.ts';

/** A chunk of an overlay: its bytes, or `null` where all of them are 0. */
export interface OverlayChange {
  /** Bytes from the start of the disk; a multiple of the chunk size. */
  readonly offset: number;
  /** As long as the chunk; the disk's last one may be shorter. */
  readonly bytes: Uint8Array | null;
}

/** How an overlay is made. */
export interface OverlayOptions {
  /** Bytes that are copied at a time: a multiple of 512; 64 KiB unless told. */
  readonly chunkSize?: number;
  /** What `changes` gave earlier, over the same base and with the same chunk size. */
  readonly changes?: Iterable<OverlayChange>;
  /**
   * Called by `flush` with a copy of each chunk that changed since it last succeeded: a flush is done when
   * this is. Without it an overlay lives as long as the process.
   */
  readonly store?: (changes: readonly OverlayChange[]) => void | Promise<void>;
}

/** A disk that keeps what is written to it apart from its base. */
export interface OverlayStorage extends Storage {
  readonly chunkSize: number;
  /** Copies of all chunks that differ from the base, for a snapshot. */
  changes(): OverlayChange[];
}

/** What a chunk is that holds zeroes only: it takes no room. */
const blank: unique symbol = Symbol('blank');
type Chunk = Uint8Array | typeof blank;

/** A part of a request that lies in one chunk. */
interface Part {
  readonly chunk: number;
  /** Bytes from the start of the chunk, and from the start of the request. */
  readonly within: number;
  readonly from: number;
  readonly length: number;
}

/**
 * A copy-on-write disk over any storage, which is only read. Room is taken by the chunks that were written.
 *
 * @throws {UsageError} BAD_ARGUMENT for a chunk size that is no multiple of 512, for changes that do not fit.
 */
export function overlayStorage(base: Storage, options: OverlayOptions = {}): OverlayStorage {
  const { chunkSize = 65536, store } = options;
  if (!Number.isSafeInteger(chunkSize) || chunkSize <= 0 || chunkSize % sectorSize !== 0) {
    throw new UsageError('BAD_ARGUMENT', `chunks of ${chunkSize} bytes: take a multiple of ${sectorSize}`);
  }
  const { size } = base;
  const chunks = new Map<number, Chunk>();
  const changed = new Set<number>();
  const lengthOf = (chunk: number): number => Math.min(chunkSize, size - chunk * chunkSize);

  for (const { offset, bytes } of options.changes ?? []) {
    const chunk = offset / chunkSize;
    const fits = Number.isInteger(chunk) && chunk >= 0 && offset < size;
    if (!fits || (bytes !== null && bytes.length !== lengthOf(chunk))) {
      throw new UsageError('BAD_ARGUMENT', `the change at ${offset} is of another disk or chunk size`);
    }
    chunks.set(chunk, bytes === null ? blank : bytes.slice());
  }

  const partsOf = (offset: number, length: number): Part[] => {
    const parts: Part[] = [];
    for (let from = 0; from < length; ) {
      const chunk = Math.floor((offset + from) / chunkSize);
      const within = offset + from - chunk * chunkSize;
      const taken = Math.min(lengthOf(chunk) - within, length - from);
      parts.push({ chunk, within, from, length: taken });
      from += taken;
    }
    return parts;
  };

  const put = (chunk: number, value: Chunk): void => {
    chunks.set(chunk, value);
    changed.add(chunk);
  };

  /** Changes a part of a chunk, which is copied from the base first when the overlay has none. */
  const change = (part: Part, apply: (bytes: Uint8Array) => void): Eventually<void> => {
    const { chunk, within, length } = part;
    const finish = (fresh: Uint8Array): void => {
      // Another write may have been quicker while the base took its time: its chunk counts.
      const present = chunks.get(chunk);
      const bytes = present === undefined ? fresh : present === blank ? fresh.fill(0) : present;
      apply(bytes.subarray(within, within + length));
      put(chunk, bytes);
    };
    const fresh = new Uint8Array(chunks.get(chunk) instanceof Uint8Array ? 0 : lengthOf(chunk));
    if (chunks.has(chunk)) return finish(fresh);
    return after(base.read(chunk * chunkSize, fresh), () => finish(fresh));
  };

  const clear = (offset: number, length: number): Eventually<void> =>
    eachInTurn(partsOf(offset, length), (part) => {
      if (part.length === lengthOf(part.chunk)) put(part.chunk, blank);
      else if (chunks.get(part.chunk) !== blank) return change(part, (bytes) => void bytes.fill(0));
    });

  const exported = (chunk: number): OverlayChange => {
    const value = chunks.get(chunk) ?? blank;
    return { offset: chunk * chunkSize, bytes: value === blank ? null : value.slice() };
  };

  let storing: Promise<void> | undefined;

  /** One after the other: what an earlier call has under way is not stable yet, and may come back as changed. */
  const storeInTurn = (keep: NonNullable<OverlayOptions['store']>): void | Promise<void> => {
    if (storing === undefined && changed.size === 0) return;
    const store = (): void | Promise<void> => (changed.size === 0 ? undefined : storeChanged(keep));
    const stored = Promise.resolve(storing === undefined ? store() : storing.then(store, store));
    const settled = stored.finally(() => {
      if (storing === settled) storing = undefined;
    });
    storing = settled;
    return settled;
  };

  const storeChanged = async (keep: NonNullable<OverlayOptions['store']>): Promise<void> => {
    const storing = [...changed];
    changed.clear();
    try {
      await keep(storing.map(exported));
    } catch (error) {
      for (const chunk of storing) changed.add(chunk);
      throw error;
    }
  };

  return {
    size,
    readOnly: false,
    immediate: base.immediate,
    sparse: true,
    chunkSize,
    read(offset, target) {
      return eachInTurn(partsOf(offset, target.length), ({ chunk, within, from, length }) => {
        const piece = target.subarray(from, from + length);
        const present = chunks.get(chunk);
        if (present === undefined) return base.read(offset + from, piece);
        if (present === blank) piece.fill(0);
        else piece.set(present.subarray(within, within + length));
      });
    },
    write(offset, source) {
      return eachInTurn(partsOf(offset, source.length), (part) => {
        const piece = source.subarray(part.from, part.from + part.length);
        if (part.length === lengthOf(part.chunk) && !(chunks.get(part.chunk) instanceof Uint8Array)) {
          put(part.chunk, piece.slice());
          return;
        }
        return change(part, (bytes) => bytes.set(piece));
      });
    },
    flush() {
      return store === undefined ? undefined : storeInTurn(store);
    },
    discard: clear,
    writeZeroes: clear,
    changes: () => [...chunks.keys()].sort((a, b) => a - b).map(exported),
    close: () => base.close?.(),
  };
}

/**
 * A disk in memory that takes room only where it is written: an overlay of zeroes.
 *
 * @throws {UsageError} BAD_ARGUMENT when the size is not a positive multiple of 512.
 */
export function sparseStorage(size: number, options: OverlayOptions = {}): OverlayStorage {
  if (!Number.isSafeInteger(size) || size <= 0 || size % sectorSize !== 0) {
    throw new UsageError('BAD_ARGUMENT', `a disk of ${size} bytes: it must be a multiple of ${sectorSize}`);
  }
  const zeroes: Storage = {
    size,
    readOnly: true,
    immediate: true,
    read: (_offset, target) => void target.fill(0),
    write() {
      throw new UsageError('BAD_STATE', 'the zeroes beneath a sparse disk are not written');
    },
    flush() {},
  };
  return overlayStorage(zeroes, options);
}
