import { UsageError } from 'virtio/errors';

/** A run of ids: `count` of the guest's from `guest` on are the host's from `host` on. */
export interface IdRange {
  readonly guest: number;
  readonly host: number;
  readonly count: number;
}

/** Whose files a guest's are on the host, and the other way round. */
export interface IdMaps {
  /** Users. As they are when the sharing process is root's, else root of the guest is its own user. */
  readonly users?: readonly IdRange[];
  /** Groups, in the same way. */
  readonly groups?: readonly IdRange[];
  /**
   * Whose a file is that a guest's user makes who is in no range: this user's and group's of the host. Without it the guest
   * reads EPERM. The sharing process's own where it is not root's.
   */
  readonly squash?: { readonly user: number; readonly group: number };
}

/** Who stands for everybody who is in no range. */
const nobody = 65_534;
const mostIds = 2 ** 32 - 1;

/** Users or groups of a guest and a host. */
export class IdMap {
  readonly #ranges: readonly IdRange[];
  readonly #squash: number | undefined;
  readonly #isIdentity: boolean;

  /** @throws {UsageError} BAD_ARGUMENT for ranges that overlap or are none. */
  constructor(ranges: readonly IdRange[], squash: number | undefined) {
    for (const side of ['guest', 'host'] as const) checkRanges(ranges, side);
    this.#ranges = ranges;
    this.#squash = squash;
    const [first] = ranges;
    this.#isIdentity = first?.guest === 0 && first.host === 0 && first.count === mostIds;
  }

  /** The guest's id for one of the host's. */
  toGuest(id: number): number {
    if (this.#isIdentity) return id;
    for (const { guest, host, count } of this.#ranges) {
      if (id >= host && id < host + count) return guest + id - host;
    }
    return nobody;
  }

  /** The host's id for one of the guest's; `undefined` for one that has none. */
  toHost(id: number): number | undefined {
    if (this.#isIdentity) return id;
    for (const { guest, host, count } of this.#ranges) {
      if (id >= guest && id < guest + count) return host + id - guest;
    }
    return undefined;
  }

  /** Whose something is that this id of the guest makes. */
  makerOf(id: number): number | undefined {
    return this.toHost(id) ?? this.#squash;
  }
}

/** Everybody is who he is. */
export const sameIds: readonly IdRange[] = [{ guest: 0, host: 0, count: mostIds }];

function checkRanges(ranges: readonly IdRange[], side: 'guest' | 'host'): void {
  const sorted = [...ranges].sort((a, b) => a[side] - b[side]);
  let end = 0;
  for (const range of sorted) {
    const first = range[side];
    const { count } = range;
    if (!isId(first) || !isId(count) || count === 0 || first + count > mostIds) {
      throw new UsageError('BAD_ARGUMENT', `${count} ids from ${first} are no range of ids`);
    }
    if (first < end) {
      throw new UsageError('BAD_ARGUMENT', `id ${first} of the ${side} is in two ranges; take it out of one`);
    }
    end = first + count;
  }
}

const isId = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= mostIds;
