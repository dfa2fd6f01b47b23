import { UsageError } from 'virtio/errors';

/** The places that a bus has. */
export interface Slots {
  /** What a place is called: 'PCI slot'. */
  readonly name: string;
  readonly first: number;
  /** Where the search for a free one begins. */
  readonly searchFrom: number;
  readonly last: number;
  /** What is in a place, for people; `undefined` when it is free. */
  occupant(slot: number): string | undefined;
}

/**
 * The wanted place, or else the first free one.
 *
 * @throws {UsageError} BAD_ARGUMENT when there is no such place, it is taken, or none is free.
 */
export function freeSlot({ name, first, searchFrom, last, occupant }: Slots, wanted?: number): number {
  if (wanted === undefined) {
    for (let slot = searchFrom; slot <= last; slot++) if (occupant(slot) === undefined) return slot;
    throw new UsageError('BAD_ARGUMENT', `no ${name} from ${searchFrom} to ${last} is free`);
  }
  if (!Number.isInteger(wanted) || wanted < first || wanted > last) {
    throw new UsageError('BAD_ARGUMENT', `${wanted} is no ${name} from ${first} to ${last}`);
  }
  const taken = occupant(wanted);
  if (taken !== undefined) {
    throw new UsageError('BAD_ARGUMENT', `${name} ${wanted} is taken by ${taken}`);
  }
  return wanted;
}
