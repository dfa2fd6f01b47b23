import { bytes, type Codec, le16, le32, le64, type Struct, struct, u8 } from '../spec/layout.ts';

// In the byte order of the machine, as the messages are. Where the buffer lies is the front end's business; what it
// holds is its back end's alone, before and after it died.

/** `version` of a split queue's region that is in use; 0 is a new one. */
export const inflightVersion = 1;

/** Bytes to a multiple of which a queue's region is rounded up, as other back ends do. */
const regionAlignment = 64;

const splitHeader = {
  features: le64,
  version: le16,
  desc_num: le16,
  /** The head given back last: the first of a list through `next`. */
  last_batch_head: le16,
  /** The used index when all that was given back had been struck off. */
  used_idx: le16,
} as const;
/** The region of a split queue, up to its `desc`. */
export const QueueRegionSplit: Struct<typeof splitHeader> = struct('QueueRegionSplit', splitHeader);

const splitState = {
  /** 1 from the moment that it is taken until the driver has it back. */
  inflight: u8,
  padding: bytes(5),
  next: le16,
  /** Rises with each buffer that is taken. */
  counter: le64,
} as const;
/** What is known of a head of the descriptor table. */
export const DescStateSplit: Struct<typeof splitState> = struct('DescStateSplit', splitState);

/**
 * `version` of a packed queue's region. Its fields are ours: QEMU's document suggests some, in which a place and its wrap
 * counter change one after the other, so that a death between the two leaves neither.
 */
export const packedInflightVersion = 0x100;

const packedHeader = {
  features: le64,
  version: le16,
  desc_num: le16,
  /** The first entry of the buffer given back last; the one before it through `next` of its last entry. */
  last_batch_head: le16,
  /** Where the next used descriptor goes, in bits 0 to 14, and the wrap counter in bit 15. */
  used: le16,
  /** The same when all that was given back had been struck off. */
  old_used: le16,
  padding: bytes(14),
} as const;
/** The region of a packed queue, up to its `desc`. */
export const QueueRegionPacked: Struct<typeof packedHeader> = struct('QueueRegionPacked', packedHeader);

const packedState = {
  inflight: u8,
  padding: u8,
  next: le16,
  /** Of the first entry of a list: the last one, and how many there are. */
  last: le16,
  num: le16,
  counter: le64,
  /** The descriptor, as it was taken. */
  id: le16,
  flags: le16,
  len: le32,
  addr: le64,
} as const;
/** What is known of a descriptor that was taken, or a free place for one. */
export const DescStatePacked: Struct<typeof packedState> = struct('DescStatePacked', packedState);

/** Bytes of the region of one queue. */
export function inflightRegionSize(queueSize: number, packed: boolean): number {
  const [header, state]: readonly [Codec<unknown>, Codec<unknown>] = packed
    ? [QueueRegionPacked, DescStatePacked]
    : [QueueRegionSplit, DescStateSplit];
  return Math.ceil((header.size + queueSize * state.size) / regionAlignment) * regionAlignment;
}
