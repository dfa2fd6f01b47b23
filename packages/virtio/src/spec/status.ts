/** Bits of the device status field (2.1, 3.4). */
export const status = Object.freeze({
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  /** With VIRTIO_F_SUSPEND: the driver has suspended the device. */
  SUSPEND: 16,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const);

/** The names of the bits that are set, for traces and messages; bits without a name as `bit5`. */
export function statusNames(value: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 8; bit++) {
    if ((value & (1 << bit)) === 0) continue;
    const known = Object.entries(status).find(([, mask]) => mask === 1 << bit);
    names.push(known?.[0] ?? `bit${bit}`);
  }
  return names;
}
