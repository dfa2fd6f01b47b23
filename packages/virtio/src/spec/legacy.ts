/** The reserved feature bits of the legacy interface alone (6.3), without their prefix `VIRTIO_F_`. */
export const legacyReservedFeatures = Object.freeze({
  /** The device notifies when a queue runs empty, even if notifications are suppressed. */
  NOTIFY_ON_EMPTY: 24,
  /** Neither side makes assumptions about the framing of messages. */
  ANY_LAYOUT: 27,
  /** Offered to detect drivers that accept whatever is offered; never to be accepted. */
  UNUSED: 30,
} as const);

/** How a device type's legacy interface differs from the modern one, beside the byte order of numbers. */
export interface LegacyForm {
  /** Features that exist in the legacy interface alone, with their bits. */
  readonly features?: Readonly<Record<string, number>>;
  /** The configuration is little-endian whatever the guest is. */
  readonly configIsLittleEndian?: boolean;
  /** Configuration fields that the driver may write through the legacy interface alone. */
  readonly driverWritable?: readonly string[];
}
