import type { Chain } from '../../virtqueue/chain.ts';
import type { RangeRules } from './offer.ts';
import { requestStatus, virtio_blk_discard_write_zeroes } from './spec-requests.ts';

/** A range of sectors that lies within the disk. */
export interface SectorRange {
  readonly sector: number;
  readonly count: number;
  readonly unmap: boolean;
}

/**
 * The ranges that a discard, write zeroes or secure erase request names; or the status that it ends with,
 * before anything was done of it.
 *
 * @spec 5.2.6.2 device: Device Types / Block Device / Device Operation
 */
export function readRanges(
  chain: Chain,
  rules: RangeRules,
  capacity: number,
  unmapAllowed: boolean,
): SectorRange[] | number {
  const { size } = virtio_blk_discard_write_zeroes;
  const count = chain.readable.remaining / size;
  if (!Number.isInteger(count) || count === 0 || count > rules.maxSegments) return requestStatus.IOERR;
  const ranges: SectorRange[] = [];
  let outside = false;
  for (let i = 0; i < count; i++) {
    // Little-endian for legacy drivers too.
    const bytes = chain.readable.bytes(size);
    const segment = virtio_blk_discard_write_zeroes.read(new DataView(bytes.buffer));
    const { unmap, reserved } = segment.flags;
    if (reserved !== 0 || (unmap !== 0 && !unmapAllowed)) return requestStatus.UNSUPP;
    const sector = Number(segment.sector);
    const sectors = segment.num_sectors;
    outside ||= sectors > rules.maxSectors || !isWithin(sector, sectors, capacity);
    ranges.push({ sector, count: sectors, unmap: unmap !== 0 });
  }
  return outside ? requestStatus.IOERR : ranges;
}

/** True when the sectors are all on the disk. Takes numbers that are too large to be exact. */
export function isWithin(sector: number, count: number, capacity: number): boolean {
  return sector <= capacity && count <= capacity - sector;
}
