import type { Storage } from 'virtio/devices/blk';
import { HostError, UsageError } from 'virtio/errors';
import { openFileStorage } from './file-storage.ts';
import { openNbd } from './nbd/nbd-storage.ts';
import { isNbdUri } from './nbd/uri.ts';
import { startsAsQcow2 } from './qcow2/header.ts';
import { openQcow2, type Qcow2Options } from './qcow2/open.ts';

/** How bytes lie in a file. */
export type ImageFormat = 'raw' | 'qcow2';

/** How a storage is opened. */
export interface StorageOptions extends Qcow2Options {
  /** As the file's name says, unless told. */
  readonly format?: ImageFormat;
  /** Past the host's page cache; raw files alone. */
  readonly direct?: boolean;
}

/** A storage that lets go of what lies beneath. */
export interface OpenStorage extends Storage {
  close(): Promise<void>;
}

/**
 * The format of a file: what it is said to be, or what its name says: qcow2 for `.qcow2`, else raw. What the file holds
 * has no say in it. A guest writes what it likes to a raw disk, a qcow2 header too, and with that the name of any file
 * of the host as what lies beneath.
 */
export function imageFormat(path: string, format?: ImageFormat): ImageFormat {
  return format ?? (/\.qcow2$/i.test(path) ? 'qcow2' : 'raw');
}

/**
 * Opens a disk: an export of an NBD server by its URI, or a file by its name, see {@link imageFormat}.
 *
 * @throws {HostError} as {@link openFileStorage}, {@link openQcow2} and {@link openNbd}; BAD_IMAGE for a file that begins like a qcow2
 * image and is said to be one neither by its name nor by `format`: somebody has to say what it is.
 * @throws {UsageError} BAD_ARGUMENT for options that the format does not have.
 */
export async function openStorage(location: string, options: StorageOptions = {}): Promise<OpenStorage> {
  const { readOnly = false, direct = false, format } = options;
  if (isNbdUri(location)) {
    if (!direct && format === undefined) return openNbd(location, { readOnly });
    throw new UsageError('BAD_ARGUMENT', `${location}: neither a format nor direct I/O can be had over NBD`);
  }
  const path = location;
  if (imageFormat(path, format) === 'qcow2') {
    if (direct) throw new UsageError('BAD_ARGUMENT', `${path}: direct I/O is for raw files alone`);
    return openQcow2(path, options);
  }
  const storage = await openFileStorage(path, { readOnly, direct });
  try {
    if (format === undefined) await refuseDoubt(path, storage);
    return storage;
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function refuseDoubt(path: string, storage: Storage): Promise<void> {
  const first = new Uint8Array(512);
  await storage.read(0, first);
  if (!startsAsQcow2(first)) return;
  const hint =
    'say format=qcow2 if you made it so, format=raw if it is a disk whose guest may have written that';
  throw new HostError(
    'BAD_IMAGE',
    `${path} begins like a qcow2 image, and its name does not end in .qcow2: ${hint}`,
  );
}
