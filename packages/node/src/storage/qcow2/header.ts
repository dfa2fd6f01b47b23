import { HostError } from 'virtio/errors';
import { readExtensions } from './extensions.ts';
import { type Features, readFeatures } from './features.ts';
import { clusterBits, headerField, headerLength, magic, most } from './header-fields.ts';

/** What the header of an image says, checked as far as it can be without looking further. */
export interface Header extends Features {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes. */
  readonly clusterSize: number;
  /** Bytes of the disk. */
  readonly size: number;
  readonly l1Offset: number;
  /** Entries. */
  readonly l1Size: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** A reference count has 2 to the power of this many bits. */
  readonly refcountOrder: number;
  readonly snapshotsOffset: number;
  readonly snapshotCount: number;
  readonly compression: 'zlib' | 'zstd';
  readonly backing: { readonly name: string; readonly format: string | undefined } | undefined;
}

const sectorSize = 512;
const cryptMethods = ['none', 'AES', 'LUKS'];

/**
 * Reads the header from the beginning of an image: its first cluster, or all of the file where that is less.
 *
 * @throws {HostError} BAD_IMAGE for what is no image, or one that uses what is not known here.
 */
export function readHeader(path: string, bytes: Uint8Array, fileSize: number): Header {
  const bad = (what: string): HostError => new HostError('BAD_IMAGE', `${path} ${what}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < headerLength.version2 || !startsAsQcow2(bytes)) {
    throw bad('is no qcow2 image: if it is a raw one, say format=raw');
  }
  const u32 = (field: keyof typeof headerField): number => view.getUint32(headerField[field]);
  const u64 = (field: keyof typeof headerField): number => {
    const value = Number(view.getBigUint64(headerField[field]));
    if (Number.isSafeInteger(value)) return value;
    throw bad(`says ${field} ${value}, which is beyond 2^53`);
  };
  const version = u32('version');
  if (version !== 2 && version !== 3) throw bad(`is qcow2 of version ${version}; versions 2 and 3 are known`);
  const length = version === 2 ? headerLength.version2 : readLength(view, bad);

  const bits = u32('cluster_bits');
  if (bits < clusterBits.least || bits > clusterBits.most) {
    throw bad(
      `has clusters of 2^${bits} bytes; from 2^${clusterBits.least} to 2^${clusterBits.most} are possible`,
    );
  }
  const clusterSize = 2 ** bits;
  if (length > Math.min(clusterSize, bytes.length))
    throw bad(`has a header of ${length} bytes, beyond its first cluster`);
  const crypt = u32('crypt_method');
  if (crypt !== 0) throw bad(`is encrypted (${cryptMethods[crypt] ?? crypt}), which cannot be read here`);

  const nameOffset = u64('backing_file_offset');
  const header = bytes.subarray(0, clusterSize);
  const extensions = readExtensions(header, length, nameOffset === 0 ? header.length : nameOffset, bad);
  const features = readFeatures(view, version, extensions.featureNames, bad);
  const compressionType =
    length > headerField.compression_type ? view.getUint8(headerField.compression_type) : 0;
  if (features.hasCompressionType !== (compressionType !== 0) || compressionType > 1) {
    throw bad(`has clusters compressed in a way that is not known here (${compressionType})`);
  }

  const size = u64('size');
  if (size === 0 || size % sectorSize !== 0) {
    throw bad(
      `is a disk of ${size} bytes, not whole sectors of ${sectorSize}: \`qemu-img resize\` changes it`,
    );
  }
  const refcountOrder = version === 2 ? 4 : u32('refcount_order');
  if (refcountOrder > 6) throw bad(`has reference counts of 2^${refcountOrder} bits; up to 2^6 are possible`);

  /** An area that has to lie in the file, whole clusters from its beginning. */
  const area = (name: string, offset: number, bytes: number, most: number): void => {
    if (bytes > most) throw bad(`has a ${name} of ${bytes} bytes; up to ${most} are possible`);
    if (offset % clusterSize !== 0) throw bad(`has its ${name} at ${offset}, which is no cluster`);
    if (offset + bytes > Math.ceil(fileSize / clusterSize) * clusterSize)
      throw bad(`has its ${name} at ${offset}, beyond its end: it was cut`);
  };
  const [l1Offset, l1Size] = [u64('l1_table_offset'), u32('l1_size')];
  area('L1 table', l1Offset, l1Size * 8, most.l1);
  if (l1Size < Math.ceil(size / (clusterSize * (clusterSize / 8)))) {
    throw bad(`has an L1 table of ${l1Size} entries, too few for ${size} bytes`);
  }
  const [tableOffset, tableClusters] = [u64('refcount_table_offset'), u32('refcount_table_clusters')];
  area('refcount table', tableOffset, tableClusters * clusterSize, most.refcountTable);
  if (tableClusters === 0) throw bad('has no refcount table');
  const [snapshotsOffset, snapshotCount] = [u64('snapshots_offset'), u32('nb_snapshots')];
  if (snapshotCount > 0) area('snapshot table', snapshotsOffset, 1, 1);
  if (snapshotCount > most.snapshots)
    throw bad(`has ${snapshotCount} snapshots; up to ${most.snapshots} are possible`);

  return {
    ...features,
    version,
    clusterBits: bits,
    clusterSize,
    size,
    l1Offset,
    l1Size,
    refcountTableOffset: tableOffset,
    refcountTableClusters: tableClusters,
    refcountOrder,
    snapshotsOffset,
    snapshotCount,
    compression: compressionType === 1 ? 'zstd' : 'zlib',
    backing: readBacking(header, nameOffset, u32('backing_file_size'), extensions.backingFormat, bad),
  };
}

/** Whether the first bytes are those of an image. A disk's guest may have written them. */
export function startsAsQcow2(bytes: Uint8Array): boolean {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(headerField.magic) === magic;
}

function readLength(view: DataView, bad: (what: string) => HostError): number {
  const least = headerLength.version3;
  const length = view.byteLength < least ? 0 : view.getUint32(headerField.header_length);
  if (length >= least && length % 8 === 0) return length;
  throw bad(`has a header of ${length} bytes; version 3 has at least ${least}, a multiple of 8`);
}

function readBacking(
  header: Uint8Array,
  offset: number,
  length: number,
  format: string | undefined,
  bad: (what: string) => HostError,
): Header['backing'] {
  if (offset === 0) return undefined;
  if (length === 0) return undefined;
  if (length > most.name || offset + length > header.length) {
    throw bad(`names a backing file in ${length} bytes at ${offset}, beyond its first cluster`);
  }
  const name = nameIn(header.subarray(offset, offset + length));
  if (name !== undefined) return { name, format };
  throw bad('has a backing file whose name is no text: `qemu-img rebase -u` changes it');
}

/** No name of a file that a person gave has control characters, and a terminal would obey them. */
function nameIn(bytes: Uint8Array): string | undefined {
  try {
    const name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return /\p{Cc}/u.test(name) ? undefined : name;
  } catch {
    return undefined;
  }
}
