import { readHeader } from './header.ts';

/** Clusters that are counted and not used, and clusters that are used more often than they are counted. */
export interface Findings {
  readonly leaked: number;
  readonly lost: number;
}

/**
 * Looks through an image of 16-bit counts, without snapshots and compression, in the plainest way: it shares no more
 * than the header with what it checks.
 */
export function checkImage(image: Uint8Array): Findings {
  const header = readHeader('image', image, image.length);
  const size = header.clusterSize;
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const entry = (at: number): number => Number(view.getBigUint64(at) & 0x00ff_ffff_ffff_fe00n);
  const used = new Map<number, number>();
  const use = (offset: number, length = size): void => {
    for (let at = offset; at < offset + length; at += size)
      used.set(at / size, (used.get(at / size) ?? 0) + 1);
  };
  use(0);
  use(header.l1Offset, header.l1Size * 8);
  use(header.refcountTableOffset, header.refcountTableClusters * size);
  const counts = new Map<number, number>();
  for (let index = 0; index < (header.refcountTableClusters * size) / 8; index++) {
    const block = entry(header.refcountTableOffset + index * 8);
    if (block === 0) continue;
    use(block);
    for (let i = 0; i < size / 2; i++) {
      const count = block + i * 2 + 2 > image.length ? 0 : view.getUint16(block + i * 2);
      if (count !== 0) counts.set((index * size) / 2 + i, count);
    }
  }
  for (let index = 0; index < header.l1Size; index++) {
    const table = entry(header.l1Offset + index * 8);
    if (table === 0) continue;
    use(table);
    for (let i = 0; i < size / 8; i++) {
      const place = entry(table + i * 8);
      if (place !== 0) use(place);
    }
  }
  let [leaked, lost] = [0, 0];
  for (const [cluster, count] of counts) if (count > (used.get(cluster) ?? 0)) leaked++;
  for (const [cluster, count] of used) if (count > (counts.get(cluster) ?? 0)) lost++;
  return { leaked, lost };
}
