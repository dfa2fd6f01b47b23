import { be16, be32, be64, type Struct, struct } from '../../spec/layout.ts';

const infoBlock = {
  /** The guest address of the queue, which lies in one piece. */
  queue: be64,
  /** Bytes that its used ring is aligned to. */
  align: be32,
  index: be16,
  size: be16,
} as const;

/** What SET_VQ carries at revision 0 (4.3.2.2.2). */
export const vq_info_block_legacy: Struct<typeof infoBlock> = struct('vq_info_block_legacy', infoBlock);
