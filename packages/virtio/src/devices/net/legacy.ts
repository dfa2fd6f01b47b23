/**
 * Features of the legacy interface alone. GUEST_RSC4 and GUEST_RSC6 stand on bits 41 and 42, which a legacy driver, who
 * knows 32, cannot be offered.
 */
export const legacyNetFeatures = Object.freeze({
  /** The device takes frames with any `gso_type`. */
  GSO: 6,
} as const);

/** Bytes of a legacy header: without MRG_RXBUF it ends before `num_buffers`. */
export const legacyHeaderLength = (has: (feature: 'MRG_RXBUF') => boolean): number =>
  has('MRG_RXBUF') ? 12 : 10;
