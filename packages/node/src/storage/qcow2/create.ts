import { basename, dirname, resolve } from 'node:path';
import { UsageError } from 'virtio/errors';
import { RawFile } from '../raw-file.ts';
import { extension } from './extensions.ts';
import { headerField, headerLength, magic, most } from './header-fields.ts';
import { openQcow2 } from './open.ts';

/** How an image is made. */
export interface NewQcow2 {
  /** Bytes of the disk, a multiple of 512; as many as the backing file has, unless told. */
  readonly size?: number;
  /** What lies beneath: the path is taken from the folder of the image, and kept as it is given. */
  readonly backing?: { readonly path: string; readonly format: 'raw' | 'qcow2' };
  /** Bytes, a power of two from 512 to 2 MiB; 64 KiB unless told. */
  readonly clusterSize?: number;
}

/** Bits of a reference count, as nearly every image has them. */
const countBits = 16;

/**
 * Makes an empty qcow2 image, of version 3. It takes room as it is written.
 *
 * @throws {UsageError} BAD_ARGUMENT for sizes that cannot be.
 * @throws {HostError} IN_USE when there is such a file already; NOT_FOUND, BAD_IMAGE and so on for the backing file.
 */
export async function createQcow2(path: string, options: NewQcow2): Promise<void> {
  const { backing, clusterSize = 65_536 } = options;
  const bits = Math.log2(clusterSize);
  if (!Number.isInteger(bits) || bits < 9 || bits > 21) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `clusters of ${clusterSize} bytes: take a power of two from 512 to 2 MiB`,
    );
  }
  const beneath = backing === undefined ? undefined : await sizeOf(path, backing);
  const size = options.size ?? beneath;
  if (size === undefined || !Number.isSafeInteger(size) || size <= 0 || size % 512 !== 0) {
    throw new UsageError('BAD_ARGUMENT', `a disk of ${size} bytes cannot be made: take a multiple of 512`);
  }
  const perTable = clusterSize / 8;
  const l1Size = Math.ceil(size / (clusterSize * perTable));
  if (l1Size * 8 > most.l1) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `a disk of ${size} bytes needs larger clusters than ${clusterSize} bytes`,
    );
  }

  // The header, the refcount table, the blocks that count all this, and L1.
  const perBlock = (clusterSize * 8) / countBits;
  const l1Clusters = Math.ceil((l1Size * 8) / clusterSize);
  let [tables, blocks] = [1, 1];
  while (blocks * perBlock < 1 + tables + blocks + l1Clusters || tables * perTable < blocks) {
    blocks = Math.ceil((1 + tables + blocks + l1Clusters) / perBlock);
    tables = Math.ceil(blocks / perTable);
  }
  const used = 1 + tables + blocks + l1Clusters;
  const bytes = new Uint8Array(used * clusterSize);
  const view = new DataView(bytes.buffer);
  const at = (cluster: number): bigint => BigInt(cluster * clusterSize);
  for (let block = 0; block < blocks; block++) {
    view.setBigUint64(clusterSize + block * 8, at(1 + tables + block));
  }
  for (let cluster = 0; cluster < used; cluster++) {
    view.setUint16((1 + tables) * clusterSize + cluster * 2, 1);
  }
  view.setUint32(headerField.magic, magic);
  view.setUint32(headerField.version, 3);
  view.setUint32(headerField.cluster_bits, bits);
  view.setBigUint64(headerField.size, BigInt(size));
  view.setUint32(headerField.l1_size, l1Size);
  view.setBigUint64(headerField.l1_table_offset, at(1 + tables + blocks));
  view.setBigUint64(headerField.refcount_table_offset, at(1));
  view.setUint32(headerField.refcount_table_clusters, tables);
  view.setUint32(headerField.refcount_order, Math.log2(countBits));
  view.setUint32(headerField.header_length, headerLength.version3);
  if (backing !== undefined) putBacking(bytes.subarray(0, clusterSize), backing);

  const file = RawFile.open(path, { readOnly: false, create: 'new' });
  try {
    file.write(0, bytes);
    await file.flush();
  } finally {
    await file.close();
  }
}

function putBacking(header: Uint8Array, { path, format }: NonNullable<NewQcow2['backing']>): void {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const encoder = new TextEncoder();
  const formatName = encoder.encode(format);
  const name = encoder.encode(path);
  let end: number = headerLength.version3;
  view.setUint32(end, extension.backingFormat);
  view.setUint32(end + 4, formatName.length);
  header.set(formatName, end + 8);
  // Behind it the extension that ends them: type and length 0.
  end += 8 + Math.ceil(formatName.length / 8) * 8 + 8;
  if (name.length > most.name || end + name.length > header.length) {
    throw new UsageError('BAD_ARGUMENT', `the name of the backing file, ${path}, is too long for a header`);
  }
  header.set(name, end);
  view.setBigUint64(headerField.backing_file_offset, BigInt(end));
  view.setUint32(headerField.backing_file_size, name.length);
}

/** Bytes of the disk beneath, which has to be there. Odd bytes of a raw file have a sector of their own. */
async function sizeOf(image: string, { path, format }: NonNullable<NewQcow2['backing']>): Promise<number> {
  if (/^[^/]*:/.test(path)) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${path} would be taken for a protocol: give it as ./${basename(path)}`,
    );
  }
  const file = resolve(dirname(image), path);
  if (format === 'raw') {
    const raw = RawFile.open(file, { readOnly: true });
    await raw.close();
    return Math.ceil(raw.stats.size / 512) * 512;
  }
  const storage = await openQcow2(file, { readOnly: true });
  await storage.close();
  return storage.size;
}
