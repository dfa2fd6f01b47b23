import { packedRingMistakes } from '../../peer-errors.ts';
import { bits, le16, le32, le64, struct } from '../../spec/layout.ts';
import type { RingAreas } from '../area.ts';
import type { RingFormat } from '../ring-format.ts';

// The hot code of this folder writes these offsets as numbers; layout.test.ts holds the two together.

/** A descriptor of a packed ring, also of its indirect tables (2.8.13). */
export const PvirtqDesc = /* @__PURE__ */ struct('pvirtq_desc', {
  addr: le64,
  len: le32,
  id: le16,
  flags: le16,
});

/** Driver and Device Event Suppression (2.8.14). */
export const PvirtqEventSuppress = /* @__PURE__ */ struct('pvirtq_event_suppress', {
  desc: /* @__PURE__ */ bits(le16, { desc_event_off: 15, desc_event_wrap: 1 }),
  flags: /* @__PURE__ */ bits(le16, { desc_event_flags: 2, reserved: 14 }),
});

/** `flags` of a descriptor. */
export const pvirtqDescFlags = Object.freeze({
  NEXT: 1,
  WRITE: 2,
  INDIRECT: 4,
  AVAIL: 1 << 7,
  USED: 1 << 15,
} as const);

/** `desc_event_flags`. */
export const ringEventFlags = Object.freeze({ ENABLE: 0, DISABLE: 1, DESC: 2 } as const);

/** The three parts of a packed ring of `size` descriptors (2.8.10.1). */
export function packedRingAreas(size: number): RingAreas {
  return {
    descriptor: { length: 16 * size, alignment: 16 },
    driver: { length: 4, alignment: 4 },
    device: { length: 4, alignment: 4 },
  };
}

/** True for any whole number from 1 to 32768. */
export function isPackedRingSize(size: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= 32768;
}

/** A packed ring as both ends set it up. */
export const packedFormat: RingFormat = {
  name: 'packed',
  isSize: isPackedRingSize,
  areas: packedRingAreas,
  misaligned: 'PACKED_QUEUE_MISALIGNED',
  misalignedClause: packedRingMistakes.PACKED_QUEUE_MISALIGNED,
};
