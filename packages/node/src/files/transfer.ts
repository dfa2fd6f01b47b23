import { FsError } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import { checked } from './failure.ts';
import { Vectors } from './vectors.ts';

const EINTR = 4;
const EAGAIN = 11;
const EOPNOTSUPP = 95;
/** Of preadv2(2): fail with EAGAIN rather than wait for a disk. */
const RWF_NOWAIT = 8;

/** Moves bytes between open files and memory, as one call for as many pieces as Linux takes. */
export class Transfer {
  readonly #calls: FolderCalls;
  readonly #vectors: Vectors;

  constructor(calls: FolderCalls) {
    this.#calls = calls;
    this.#vectors = new Vectors(calls);
  }

  /**
   * Fills the pieces, or as many bytes of them as there are; answers how many. `undefined` where that would have to wait for
   * a disk, as far as the file system can tell; `place` remembers that one cannot.
   */
  read(
    fd: number,
    offset: number,
    targets: readonly Uint8Array[],
    place: { tellsOfWaiting: boolean },
  ): number | undefined {
    if (place.tellsOfWaiting) {
      const result = this.#move(this.#calls.readVector, fd, offset, targets, RWF_NOWAIT);
      if (result !== -EOPNOTSUPP) return result === -EAGAIN ? undefined : checked(result);
      place.tellsOfWaiting = false;
    }
    return checked(this.#move(this.#calls.readVector, fd, offset, targets, 0));
  }

  /** Stores the pieces; answers how many bytes were taken, which are fewer when the disk is full in between. */
  write(fd: number, offset: number, sources: readonly Uint8Array[]): number {
    return checked(this.#move(this.#calls.writeVector, fd, offset, sources, 0));
  }

  /** Answers how many bytes were moved; minus the errno of why none were, or that the rest of what is read has to wait. */
  #move(
    call: FolderCalls['readVector'],
    fd: number,
    offset: number,
    pieces: readonly Uint8Array[],
    flags: number,
  ): number {
    let done = 0;
    let first = 0;
    let skip = 0;
    for (;;) {
      while (first < pieces.length && skip >= pieces[first]!.length) skip -= pieces[first++]!.length;
      if (first === pieces.length) return done;
      const count = this.#vectors.fill(pieces, first, skip);
      const result = call(fd, this.#vectors.bytes, count, offset + done, flags);
      if (result === -EINTR) continue;
      if (result <= 0) return result === 0 || (done > 0 && result !== -EAGAIN) ? done : result;
      done += result;
      skip += result;
    }
  }
}

const FALLOC_FL = { KEEP_SIZE: 1, PUNCH: 2, COLLAPSE: 8, ZERO: 16, INSERT: 32, UNSHARE: 64 } as const;

/** The flags of fallocate(2) for what is to be done. */
export function allocationMode(kind: string, keepSize: boolean): number {
  const keep = keepSize ? FALLOC_FL.KEEP_SIZE : 0;
  switch (kind) {
    case 'allocate':
      return keep;
    case 'punch':
      return FALLOC_FL.PUNCH | FALLOC_FL.KEEP_SIZE;
    case 'zero':
      return FALLOC_FL.ZERO | keep;
    case 'collapse':
      return FALLOC_FL.COLLAPSE;
    case 'insert':
      return FALLOC_FL.INSERT;
    case 'unshare':
      return FALLOC_FL.UNSHARE | keep;
    default:
      throw new FsError('EOPNOTSUPP');
  }
}
