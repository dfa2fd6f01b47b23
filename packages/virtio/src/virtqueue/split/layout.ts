import { le16, le32, le64, struct, tail } from '../../spec/layout.ts';
import type { RingAreas } from '../area.ts';
import type { RingFormat } from '../ring-format.ts';

// The hot code of this folder writes these offsets as numbers; layout.test.ts holds the two together.

/** A descriptor of a split ring, also of its indirect tables (2.7.5). */
export const VirtqDesc = /* @__PURE__ */ struct('virtq_desc', {
  addr: le64,
  len: le32,
  flags: le16,
  next: le16,
});

/** The available ring up to `used_event`, which stands behind the last entry of `ring` (2.7.6). */
export const VirtqAvail = /* @__PURE__ */ struct('virtq_avail', {
  flags: le16,
  idx: le16,
  ring: /* @__PURE__ */ tail(le16),
});

/** An entry of the used ring (2.7.8). */
export const VirtqUsedElem = /* @__PURE__ */ struct('virtq_used_elem', { id: le32, len: le32 });

/** The used ring up to `avail_event`, which stands behind the last entry of `ring` (2.7.8). */
export const VirtqUsed = /* @__PURE__ */ struct('virtq_used', {
  flags: le16,
  idx: le16,
  ring: /* @__PURE__ */ tail(VirtqUsedElem),
});

/** `flags` of the available ring. */
export * as virtqAvailFlags from './avail-flags.ts';
/** `flags` of a descriptor. */
export * as virtqDescFlags from './desc-flags.ts';

/** `flags` of the used ring. */
export * as virtqUsedFlags from './used-flags.ts';

/** The three parts of a split ring of `size` descriptors (2.7). */
export function splitRingAreas(size: number): RingAreas {
  return {
    descriptor: { length: 16 * size, alignment: 16 },
    driver: { length: 6 + 2 * size, alignment: 2 },
    device: { length: 6 + 8 * size, alignment: 4 },
  };
}

/** True for a power of two from 1 to 32768. */
export function isSplitRingSize(size: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= 32768 && (size & (size - 1)) === 0;
}

/** A split ring as both ends set it up. */
export const splitFormat: RingFormat = {
  name: 'split',
  isSize: isSplitRingSize,
  areas: splitRingAreas,
  misaligned: 'QUEUE_MISALIGNED',
};
