import { PeerError, type PeerErrorCode } from '../errors.ts';
import type { ClauseId } from '../spec/clauses.ts';
import type { RingAreas } from './area.ts';
import type { QueueAreas } from './queue.ts';

/** What both ends must know of one of the two formats of a virtqueue before there is a ring. */
export interface RingFormat {
  /** As messages call it. */
  readonly name: 'split' | 'packed';
  /** True for a number of descriptors that a ring can have. */
  isSize(size: number): boolean;
  /** How large the three areas of a ring of `size` descriptors are, and how they are aligned. */
  areas(size: number): RingAreas;
  /** The mistake that a misaligned area is, and the clause of it. */
  readonly misaligned: PeerErrorCode;
  readonly misalignedClause?: ClauseId;
}

/** What is wrong with where a driver has put a queue: its size, or how an area is aligned. */
export function areasMistake(areas: QueueAreas, format: RingFormat): PeerError | undefined {
  const { size } = areas;
  if (!format.isSize(size)) {
    return new PeerError('QUEUE_SIZE_INVALID', `no ${format.name} ring has ${size} descriptors`);
  }
  const shapes = format.areas(size);
  for (const part of ['descriptor', 'driver', 'device'] as const) {
    const { alignment } = shapes[part];
    if (areas[part] % alignment !== 0) {
      const message = `the ${part} area at ${areas[part]} is not aligned to ${alignment}`;
      return new PeerError(format.misaligned, message, format.misalignedClause);
    }
  }
  return undefined;
}
