import { PeerError, UsageError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { commonPartsEnd, virtio_dev_part_hdr } from '../../spec/device-parts.ts';

/** A piece of a device's state, as a driver carries it from one device to another. */
export interface PartCopy {
  /** The `part_type`. */
  readonly type: number;
  /** As the device gave them. */
  readonly flags: number;
  /** 8 bytes. */
  readonly selector: Uint8Array;
  readonly value: Uint8Array;
}

/** Which part. */
export type PartName = Pick<PartCopy, 'type' | 'selector'>;

const clause =
  'device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts';

/**
 * Parts out of the bytes that a device gave.
 *
 * @throws {PeerError} BAD_RESPONSE when they do not hold what they say.
 */
export function decodeParts(bytes: Uint8Array): PartCopy[] {
  const view = dataView(bytes);
  const parts: PartCopy[] = [];
  for (let at = 0; at + virtio_dev_part_hdr.size <= bytes.length; ) {
    const { part_type: type, flags, selector, length } = virtio_dev_part_hdr.read(view, at);
    if (type === 0 && length === 0) break;
    at += virtio_dev_part_hdr.size;
    if (length > bytes.length - at) {
      throw new PeerError(
        'BAD_RESPONSE',
        `a part of ${length} bytes, where ${bytes.length - at} are left`,
        clause,
      );
    }
    parts.push({ type, flags, selector, value: bytes.slice(at, at + length) });
    at += length;
  }
  return parts;
}

/** The headers of a list; as many as fit in the bytes. */
export function decodeHeaders(bytes: Uint8Array, count: number): (PartName & { readonly length: number })[] {
  const view = dataView(bytes);
  const most = Math.min(count, Math.floor(bytes.length / virtio_dev_part_hdr.size));
  return Array.from({ length: most }, (_, i) => {
    const {
      part_type: type,
      selector,
      length,
    } = virtio_dev_part_hdr.read(view, i * virtio_dev_part_hdr.size);
    return { type, selector, length };
  });
}

/** The headers by which parts are asked for. */
export function encodeNames(names: readonly PartName[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(names.length * virtio_dev_part_hdr.size);
  for (const [i, { type, selector }] of names.entries()) {
    bytes.set(virtio_dev_part_hdr.encode({ part_type: type, selector }), i * virtio_dev_part_hdr.size);
  }
  return bytes;
}

/** The parts that every device has stand by rising type; those of a device type follow as they are given. */
const rank = ({ type }: PartCopy): number => Math.min(type, commonPartsEnd);

/**
 * The bytes that set parts, in the order that the specification wants.
 *
 * @throws {UsageError} BAD_ARGUMENT for a selector that is not 8 bytes.
 * @spec 2.12.1.4.4.2 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
 */
export function encodeParts(parts: readonly PartCopy[]): Uint8Array<ArrayBuffer> {
  const sorted = [...parts].sort((one, other) => rank(one) - rank(other));
  const sizes = sorted.map(({ value }) => virtio_dev_part_hdr.size + value.length);
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const { type, flags, selector, value } of sorted) {
    if (selector.length !== 8) throw new UsageError('BAD_ARGUMENT', `a selector of ${selector.length} bytes`);
    bytes.set(virtio_dev_part_hdr.encode({ part_type: type, flags, selector, length: value.length }), at);
    bytes.set(value, at + virtio_dev_part_hdr.size);
    at += virtio_dev_part_hdr.size + value.length;
  }
  return bytes;
}
