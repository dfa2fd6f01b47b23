import { OrderedView } from '../memory/atomics.ts';
import type { Access, GuestMemory } from '../memory/guest-memory.ts';
import type { Region } from '../memory/region.ts';

/** How much room one part of a virtqueue needs, and where it may stand. */
export interface AreaShape {
  /** Bytes. */
  readonly length: number;
  /** The guest address is a multiple of this many bytes. */
  readonly alignment: number;
}

/** The three parts of a virtqueue. */
export interface RingAreas {
  readonly descriptor: AreaShape;
  readonly driver: AreaShape;
  readonly device: AreaShape;
}

/**
 * A direct view of one part of a virtqueue; `undefined` when it is not all memory, or (behind a translation,
 * or at the seam of two regions) not contiguous there, or where the host's bytes are not aligned as the
 * guest's addresses are.
 */
export function openArea(
  memory: GuestMemory,
  address: number,
  length: number,
  access: Access,
  endian: 'little' | 'big',
): OrderedView | undefined {
  let first: Region | undefined;
  let start = 0;
  let end = 0;
  const whole = memory.pieces(address, length, access, (region, offset, taken) => {
    if (first === undefined) {
      first = region;
      start = offset;
      end = offset + taken;
    } else if (region === first && offset === end) {
      end += taken;
    }
  });
  if (!whole || first === undefined || end - start !== length) return undefined;
  if ((first.bytes.byteOffset + start - address) % 4 !== 0) return undefined;
  return new OrderedView(first, start, length, endian);
}
