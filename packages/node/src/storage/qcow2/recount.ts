import type { Header } from './header.ts';
import type { HostFile } from './host-file.ts';
import { compressedRange, kindOf } from './l2-entry.ts';
import type { Mapping } from './mapping.ts';
import type { Refcounts } from './refcounts.ts';
import type { Snapshots } from './snapshots.ts';
import { offsetOf, Table } from './table.ts';

/**
 * Counts anew how often each cluster is referred to, where somebody postponed that and did not come to it.
 *
 * @throws {HostError} BAD_IMAGE where something refers beyond the file.
 */
export function recount(
  host: HostFile,
  header: Header,
  mapping: Mapping,
  snapshots: Snapshots,
  refcounts: Refcounts,
): void {
  const size = header.clusterSize;
  const counts = new Map<number, number>();
  const add = (offset: number, length: number, times = 1): void => {
    if (offset + length > Math.ceil(host.end / size) * size) {
      throw host.corrupt(`it refers to ${offset}, beyond its end`);
    }
    for (let at = Math.floor(offset / size); at * size < offset + length; at++) {
      counts.set(at, (counts.get(at) ?? 0) + times);
    }
  };
  const read = (offset: number, length: number): Table => {
    const bytes = new Uint8Array(length);
    host.read(offset, bytes);
    return new Table(offset, bytes, new Set());
  };
  /** How often each L2 table is referred to: however many share one, it is looked through once. */
  const shared = new Map<number, number>();
  const share = (offset: number): void => void shared.set(offset, (shared.get(offset) ?? 0) + 1);
  const addTable = (offset: number, times: number): void => {
    add(offset, size, times);
    const table = read(offset, size);
    for (let index = 0; index < size / 8; index++) {
      const [high, low] = [table.high(index), table.low(index)];
      if (kindOf(high, low, header.version) === 'compressed') {
        const range = compressedRange(high, low, header.clusterBits);
        add(range.offset, range.length, times);
      } else if (offsetOf(high, low) !== 0) add(offsetOf(high, low), size, times);
    }
  };

  add(0, size);
  add(header.refcountTableOffset, header.refcountTableClusters * size);
  for (const offset of refcounts.blockOffsets()) add(offset, size);
  add(header.l1Offset, header.l1Size * 8);
  for (const offset of mapping.offsets()) share(offset);
  if (snapshots.length > 0) add(header.snapshotsOffset, snapshots.length);
  for (const { l1Offset, l1Size } of snapshots.tables) {
    add(l1Offset, l1Size * 8);
    const l1 = read(l1Offset, l1Size * 8);
    for (let index = 0; index < l1Size; index++) {
      const offset = offsetOf(l1.high(index), l1.low(index));
      if (offset !== 0) share(offset);
    }
  }
  for (const [offset, times] of shared) addTable(offset, times);
  refcounts.rebuild(counts);
}
