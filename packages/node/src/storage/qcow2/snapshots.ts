import type { Header } from './header.ts';
import { most } from './header-fields.ts';
import type { HostFile } from './host-file.ts';

/** Where an internal snapshot has its L1 table. */
export interface SnapshotTable {
  readonly l1Offset: number;
  /** Entries. */
  readonly l1Size: number;
}

/** The snapshots of an image, and the bytes of the table that lists them. */
export interface Snapshots {
  readonly tables: readonly SnapshotTable[];
  readonly length: number;
}

const fixedLength = 40;
const longest = fixedLength + 2 * 65_536 + 1024;

/** @throws {HostError} BAD_IMAGE for a list that goes beyond the file, or an L1 table that is too large. */
export function readSnapshots(host: HostFile, { snapshotsOffset, snapshotCount }: Header): Snapshots {
  const tables: SnapshotTable[] = [];
  let at = snapshotsOffset;
  let end = at;
  const fixed = new Uint8Array(fixedLength);
  const view = new DataView(fixed.buffer);
  for (let i = 0; i < snapshotCount; i++) {
    host.read(at, fixed);
    const l1Offset = Number(view.getBigUint64(0));
    const l1Size = view.getUint32(8);
    const length = fixedLength + view.getUint32(36) + view.getUint16(12) + view.getUint16(14);
    if (length > longest || at + length > host.end)
      throw host.corrupt(`its snapshot ${i} is not in the file`);
    if (l1Size * 8 > most.l1) throw host.corrupt(`its snapshot ${i} has an L1 table of ${l1Size} entries`);
    tables.push({ l1Offset, l1Size });
    end = at + length;
    at += Math.ceil(length / 8) * 8;
  }
  return { tables, length: end - snapshotsOffset };
}
