import { type Offload, type Segmentation, segmentation } from 'virtio/link';

/** Bytes ahead of each frame that say what is left to do to it: the first ten of a `virtio_net_hdr`, little-endian. */
export const headerLength = 10;

const flag = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const;
/** Beside the kind of segmentation. */
const ECN = 0x80;

const kinds: readonly Segmentation[] = Object.values(segmentation);

/** What the kernel said of a frame: one object for all, so that none is made for each. */
export class ReadOffload implements Offload {
  needsChecksum = false;
  checksumStart = 0;
  checksumOffset = 0;
  checksumValid = false;
  segmentation: Segmentation = segmentation.NONE;
  segmentSize = 0;
  headerLength = 0;
  ecn = false;
  readonly tunnel = undefined;

  /** Takes in a header; false for a kind of segmentation that nobody here knows. */
  read(header: DataView): boolean {
    const flags = header.getUint8(0);
    const type = header.getUint8(1);
    const kind = kinds.find((one) => one === (type & ~ECN));
    if (kind === undefined) return false;
    this.needsChecksum = (flags & flag.NEEDS_CSUM) !== 0;
    this.checksumValid = (flags & flag.DATA_VALID) !== 0;
    this.segmentation = kind;
    this.ecn = (type & ECN) !== 0;
    this.headerLength = header.getUint16(2, true);
    this.segmentSize = header.getUint16(4, true);
    this.checksumStart = header.getUint16(6, true);
    this.checksumOffset = header.getUint16(8, true);
    return true;
  }
}

/** Says ahead of a frame what the kernel has to do to it. */
export function writeOffload(header: DataView, offload: Offload): void {
  const { needsChecksum, checksumValid, ecn } = offload;
  header.setUint8(0, (needsChecksum ? flag.NEEDS_CSUM : 0) | (checksumValid ? flag.DATA_VALID : 0));
  header.setUint8(1, offload.segmentation | (ecn ? ECN : 0));
  header.setUint16(2, offload.headerLength, true);
  header.setUint16(4, offload.segmentSize, true);
  header.setUint16(6, needsChecksum ? offload.checksumStart : 0, true);
  header.setUint16(8, needsChecksum ? offload.checksumOffset : 0, true);
}
