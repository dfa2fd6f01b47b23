import { type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Storage } from 'virtio/devices/blk';
import { HostError } from 'virtio/errors';
import { failureOf } from '../failures.ts';
import { RawFile } from '../raw-file.ts';
import { type Backing, imageBacking, rawBacking } from './backing.ts';
import { type Header, readHeader } from './header.ts';
import { clusterBits } from './header-fields.ts';
import { HostFile } from './host-file.ts';
import { Qcow2Image } from './image.ts';
import { Mapping } from './mapping.ts';
import { Occupied } from './occupied.ts';
import { recount } from './recount.ts';
import { Refcounts } from './refcounts.ts';
import { readSnapshots } from './snapshots.ts';

/** How a qcow2 image is opened. */
export interface Qcow2Options {
  readonly readOnly?: boolean;
  /**
   * The format of a backing file that the image names without a format. It is never guessed from what the file
   * holds: the guest of a raw disk could make it look like anything.
   */
  readonly backingFormat?: 'raw' | 'qcow2';
  /** False refuses images that have a backing file: one from a stranger may name any file that you can read. */
  readonly followBacking?: boolean;
}

/** A disk in a qcow2 image. */
export interface Qcow2Storage extends Storage {
  readonly path: string;
  flush(): Promise<void>;
  /** Makes all that was written stable, and lets go of the files and their locks. */
  close(): Promise<void>;
}

/** Images on top of each other. */
const longestChain = 64;

/**
 * Opens a qcow2 image, version 2 or 3, with all that lies beneath it. Like a raw file it is locked against a second
 * writer, and its backing files against any. Counts that were left postponed are made right first.
 *
 * @throws {HostError} NOT_FOUND, IN_USE, IO_ERROR; BAD_IMAGE for what is no such image, is damaged, encrypted, or
 * uses what is not known here.
 */
export async function openQcow2(path: string, options: Qcow2Options = {}): Promise<Qcow2Storage> {
  return open(path, options.readOnly ?? false, options, []);
}

/** `above` are the files on top of it. */
async function open(
  path: string,
  readOnly: boolean,
  options: Qcow2Options,
  above: readonly Stats[],
): Promise<Qcow2Image> {
  const file = RawFile.open(path, { readOnly });
  let backing: Backing | undefined;
  try {
    const header = readHeader(path, firstCluster(file), file.stats.size);
    if (header.corrupt && !readOnly) {
      const hint = 'open it read-only, or repair it with `qemu-img check -r all`';
      throw new HostError('BAD_IMAGE', `${path} is marked as corrupt: ${hint}`);
    }
    if (header.backing !== undefined) {
      backing = await openBacking(path, header.backing, options, [...above, file.stats]);
    }
    return build(new HostFile(file), header, backing);
  } catch (error) {
    await file.close();
    await backing?.close();
    throw error;
  }
}

function firstCluster(file: RawFile): Uint8Array {
  const bytes = new Uint8Array(Math.min(2 ** clusterBits.most, file.stats.size));
  return bytes.subarray(0, file.read(0, bytes));
}

function build(host: HostFile, header: Header, backing: Backing | undefined): Qcow2Image {
  const size = header.clusterSize;
  const occupied = new Occupied(host, size);
  occupied.claim(0, size, 'header');
  occupied.claim(header.l1Offset, header.l1Size * 8, 'L1 table');
  occupied.claim(header.refcountTableOffset, header.refcountTableClusters * size, 'refcount table');
  const mapping = new Mapping(host, header, occupied);
  if (host.raw.readOnly) return new Qcow2Image(host, header, mapping, undefined, backing);

  const snapshots = readSnapshots(host, header);
  if (snapshots.length > 0) occupied.claim(header.snapshotsOffset, snapshots.length, 'snapshot table');
  for (const { l1Offset, l1Size } of snapshots.tables) {
    occupied.claim(l1Offset, l1Size * 8, "snapshot's L1 table");
  }
  const refcounts = new Refcounts(host, header, occupied);
  if (header.dirty) recount(host, header, mapping, snapshots, refcounts);
  const image = new Qcow2Image(host, header, mapping, { occupied, refcounts }, backing);
  if (header.dirty) image.repaired();
  return image;
}

async function openBacking(
  path: string,
  { name, format }: NonNullable<Header['backing']>,
  options: Qcow2Options,
  above: readonly Stats[],
): Promise<Backing> {
  const bad = (what: string): HostError => new HostError('BAD_IMAGE', `${path} ${what}`);
  if (options.followBacking === false) throw bad(`has a backing file, ${name}, and none is to be followed`);
  // As everywhere: a colon ahead of any slash names a protocol, and files alone are followed.
  if (/^[^/]*:/.test(name))
    throw bad(`has the backing file ${name}, which is no file; \`qemu-img rebase\` changes it`);
  const file = resolve(dirname(path), name);
  const kind = format ?? options.backingFormat;
  if (kind !== 'raw' && kind !== 'qcow2') {
    const hint = `\`qemu-img rebase -u -F raw -b ${name} ${path}\`, or -F qcow2, says it`;
    throw bad(
      kind === undefined
        ? `does not say the format of its backing file ${name}: ${hint}`
        : `has a backing file of the format ${kind}, which is not known here`,
    );
  }
  const { dev, ino } = statOf(file);
  if (above.some((other) => other.dev === dev && other.ino === ino)) throw bad(`lies, by ${name}, on itself`);
  if (above.length >= longestChain) throw bad(`lies on more than ${longestChain} backing files`);
  if (kind === 'raw') return rawBacking(RawFile.open(file, { readOnly: true }));
  return imageBacking(await open(file, true, options, above));
}

function statOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw failureOf(path, 'read', error);
  }
}
