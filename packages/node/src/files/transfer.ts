import { FsError } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import { failed } from './failure.ts';
import { Vectors } from './vectors.ts';

const EINTR = 4;

/** Moves bytes between open files and memory, as one call for as many pieces as Linux takes. */
export class Transfer {
  readonly #calls: FolderCalls;
  readonly #vectors: Vectors;

  constructor(calls: FolderCalls) {
    this.#calls = calls;
    this.#vectors = new Vectors(calls);
  }

  /** Fills the pieces, or as many bytes of them as there are; answers how many. */
  read(fd: number, offset: number, targets: readonly Uint8Array[]): number {
    return this.#move(this.#calls.readVector, fd, offset, targets, true);
  }

  /** Stores the pieces; answers how many bytes were taken, which are fewer when the disk is full in between. */
  write(fd: number, offset: number, sources: readonly Uint8Array[]): number {
    return this.#move(this.#calls.writeVector, fd, offset, sources, false);
  }

  #move(
    call: FolderCalls['readVector'],
    fd: number,
    offset: number,
    pieces: readonly Uint8Array[],
    isRead: boolean,
  ): number {
    let done = 0;
    let first = 0;
    let skip = 0;
    for (;;) {
      while (first < pieces.length && skip >= pieces[first]!.length) skip -= pieces[first++]!.length;
      if (first === pieces.length) return done;
      const count = this.#vectors.fill(pieces, first, skip);
      const { wanted } = this.#vectors;
      const result = call(fd, this.#vectors.bytes, count, offset + done, 0);
      if (result === -EINTR) continue;
      if (result <= 0) {
        if (result === 0 || done > 0) return done;
        throw failed(result);
      }
      done += result;
      // What is read of a file is less at its end alone.
      if (isRead && result < wanted) return done;
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
