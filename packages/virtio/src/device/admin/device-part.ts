import { devicePartFlag, virtio_dev_part_hdr } from '../../spec/device-parts.ts';
import type { StructValue } from '../../spec/layout.ts';

/** A piece of a device's state (2.14): which it is, and its value. */
export interface DevicePart {
  readonly type: number;
  /** 8 bytes that tell parts of one type apart; zeroes where there is one alone. */
  readonly selector: Uint8Array;
  /** The device gets on without it. */
  readonly optional: boolean;
  /** The value has whatever length it needs; unless told, every value of this part has the same. */
  readonly variable?: boolean;
  readonly value: Uint8Array;
}

/** What `struct virtio_dev_part_hdr` holds. */
export type PartHeader = StructValue<typeof virtio_dev_part_hdr.codecs>;

/** The same for two headers of the same part. */
export const partKey = (type: number, selector: Uint8Array): string => `${type}:${selector.join()}`;

/** The header of a part. */
export function encodeHeader(part: DevicePart): Uint8Array<ArrayBuffer> {
  return virtio_dev_part_hdr.encode({
    part_type: part.type,
    flags: part.optional ? devicePartFlag.OPTIONAL : 0,
    selector: part.selector,
    length: part.value.length,
  });
}

/** The bytes that a part takes, header and value. */
export const partSize = (part: DevicePart): number => virtio_dev_part_hdr.size + part.value.length;
