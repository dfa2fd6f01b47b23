import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { OpenOptions } from '../../driver/options.ts';
import type { Transport } from '../../driver/transport.ts';
import { PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { decodeUtf8 } from '../../spec/utf8.ts';
import { changedFields } from './driver-attributes.ts';
import { FsFile } from './driver-file.ts';
import { type DirectoryItem, readListing } from './driver-listing.ts';
import { type FsNotification, takeNotifications } from './driver-notifications.ts';
import { type FoundNode, Paths, readEntry } from './driver-paths.ts';
import type { WindowAccess } from './driver-room.ts';
import { type Asker, FuseClient, terminated } from './driver-session.ts';
import { fs } from './spec.ts';
import { readAttributes } from './spec-attribute-structs.ts';
import type { AttributeChanges, Attributes, TreeStatistics } from './spec-attributes.ts';
import { FsError } from './spec-errno.ts';
import { fileType, type InitFlagName, longestXattr, openFlag, renameFlag, xattrFlag } from './spec-fuse.ts';
import * as fuse from './spec-fuse-structs.ts';
import { decodeName } from './spec-names.ts';

/** How a driver wants its file system. */
export interface OpenFsOptions
  extends Pick<
    OpenOptions<typeof fs>,
    'reserved' | 'indirectPolicy' | 'onFailure' | 'queueSize' | 'onConfigChange'
  > {
  /** Request queues to use at most: 1 unless told. */
  readonly queues?: number;
  /** Takes notifications where the device offers them. */
  readonly onNotification?: (notification: FsNotification) => void;
  /**
   * Shared memory region 0, as the transport reaches it: `transport.sharedMemory(0)` over vhost-user, the device's own
   * `memoryWindow` over the loopback. Files can be mapped into it where the device has a window, too.
   */
  readonly window?: WindowAccess | undefined;
  /** Whom the device takes the requests for: root unless told. */
  readonly asker?: Partial<Asker>;
}

/** How a file is opened. */
export interface OpenFileOptions {
  /** To read unless told. */
  readonly access?: 'read' | 'write' | 'both';
  /** Makes the file where there is none: with `exclusive` only there. */
  readonly create?: boolean;
  readonly exclusive?: boolean;
  /** Cuts the file to nothing. */
  readonly truncate?: boolean;
  readonly append?: boolean;
  /** Permissions of a file that is made: 0o644 unless told. */
  readonly mode?: number;
}

/** Entries that a listing has at most: a device that lies must not fill our memory. */
const mostEntries = 2 ** 20;

/** Bytes of a listing that are asked for at once. */
const listingRoom = 32_768;

/**
 * A file system device that is open. Paths begin at its root, and every method throws an FsError with what the device
 * answers: `error.code` is the errno by its name.
 */
export class OpenFs {
  /** What the file system is called. */
  readonly tag: string;
  readonly #device: OpenDevice<typeof fs>;
  readonly #client: FuseClient;
  readonly #paths: Paths;

  /** @internal Use {@link openFs}. */
  constructor(device: OpenDevice<typeof fs>, client: FuseClient) {
    this.#device = device;
    this.#client = client;
    this.#paths = new Paths(client);
    const tag = device.config.tag ?? new Uint8Array();
    const end = tag.indexOf(0);
    this.tag = decodeUtf8(end < 0 ? tag : tag.subarray(0, end));
  }

  /** The minor version of FUSE that is spoken; the major one is 7. */
  get minor(): number {
    return this.#client.minor;
  }

  /** True when both sides can do what INIT negotiates. */
  has(flag: InitFlagName): boolean {
    return this.#client.has(flag);
  }

  /** True when files can be mapped; otherwise they are read and written by requests, as they can be anyway. */
  get hasWindow(): boolean {
    return this.#client.room !== undefined;
  }

  /** What a file is. A link at the end of the path is followed, unless told. */
  stat(path: string, { follow = true }: { readonly follow?: boolean } = {}): Promise<Attributes> {
    // A lookup tells attributes, which the device may have kept; these are fresh.
    return this.#paths.at(path, ({ id }) => this.#paths.attributes(id), follow);
  }

  /** Changes what is given of a file; answers its attributes as they are then. Links are not followed. */
  change(path: string, changes: AttributeChanges): Promise<Attributes> {
    return this.#paths.at(
      path,
      async ({ id }) => {
        const body = fuse.fuse_setattr_in.encode(changedFields(changes));
        const answer = await this.#client.request('SETATTR', id, [body]);
        return readAttributes(dataView(answer), fuse.fuse_attr_out.field.attr.offset);
      },
      false,
    );
  }

  /** Opens a file, and makes it where told. */
  async open(path: string, options: OpenFileOptions = {}): Promise<FsFile> {
    const { access = 'read', create = false, mode = 0o644 } = options;
    const flags =
      { read: openFlag.RDONLY, write: openFlag.WRONLY, both: openFlag.RDWR }[access] |
      (options.truncate === true ? openFlag.TRUNC : 0) |
      (options.append === true ? openFlag.APPEND : 0);
    if (create) {
      const wanted = flags | openFlag.CREAT | (options.exclusive === true ? openFlag.EXCL : 0);
      return this.#paths.within(path, (directory, name) => this.#create(directory, name, mode, wanted));
    }
    return this.#paths.at(path, async ({ id }) => {
      if (options.truncate === true && !this.has('ATOMIC_O_TRUNC')) {
        await this.#client.request('SETATTR', id, [fuse.fuse_setattr_in.encode(changedFields({ size: 0 }))]);
      }
      return this.#open(id, flags);
    });
  }

  /** A file without a name, in a directory's file system. */
  temporary(directory: string, mode = 0o600): Promise<FsFile> {
    return this.#paths.at(directory, (found) =>
      this.#created('TMPFILE', found, '/', mode, openFlag.RDWR | openFlag.EXCL),
    );
  }

  async readFile(path: string): Promise<Uint8Array> {
    const file = await this.open(path);
    try {
      const { size } = await file.stat();
      return await file.read(0, size);
    } finally {
      await file.close();
    }
  }

  /** Writes all of a file; makes it where there is none. */
  async writeFile(path: string, content: Uint8Array, mode = 0o644): Promise<void> {
    const file = await this.open(path, { access: 'write', create: true, truncate: true, mode });
    try {
      const written = await file.write(0, content);
      if (written < content.length)
        throw new FsError('ENOSPC', `${path}: ${written} of ${content.length} bytes`);
    } finally {
      await file.close();
    }
  }

  /** The names in a directory, but for `.` and `..`; with attributes where the device can tell them along. */
  readdir(
    path: string,
    { attributes = false }: { readonly attributes?: boolean } = {},
  ): Promise<DirectoryItem[]> {
    return this.#paths.at(path, ({ id }) => this.#list(id, attributes && this.has('DO_READDIRPLUS')));
  }

  mkdir(path: string, mode = 0o755): Promise<void> {
    return this.#make('MKDIR', path, [fuse.fuse_mkdir_in.encode({ mode })]);
  }

  /** Makes a file of any kind but directory and link; `mode` has the type. */
  mknod(path: string, mode: number, rdev = 0): Promise<void> {
    return this.#make('MKNOD', path, [fuse.fuse_mknod_in.encode({ mode, rdev })]);
  }

  symlink(target: string, path: string): Promise<void> {
    return this.#make('SYMLINK', path, [], [terminated(target)]);
  }

  readlink(path: string): Promise<string> {
    return this.#paths.at(path, ({ id }) => this.#paths.readLink(id), false);
  }

  /** Gives a file one more name. */
  link(path: string, newPath: string): Promise<void> {
    return this.#paths.at(
      path,
      ({ id }) => this.#make('LINK', newPath, [fuse.fuse_link_in.encode({ oldnodeid: id })]),
      false,
    );
  }

  unlink(path: string): Promise<void> {
    return this.#paths.within(path, async ({ id }, name) => {
      await this.#client.request('UNLINK', id, [terminated(name)]);
    });
  }

  rmdir(path: string): Promise<void> {
    return this.#paths.within(path, async ({ id }, name) => {
      await this.#client.request('RMDIR', id, [terminated(name)]);
    });
  }

  /** Renames: over what has the new name, unless it is to swap with it, or nothing may have it. */
  rename(path: string, newPath: string, how?: 'exchange' | 'noreplace'): Promise<void> {
    return this.#paths.within(path, (from, name) =>
      this.#paths.within(newPath, async (to, newName) => {
        const names = [terminated(name), terminated(newName)];
        const { EXCHANGE, NOREPLACE } = renameFlag;
        const flags = how === undefined ? 0 : { exchange: EXCHANGE, noreplace: NOREPLACE }[how];
        const rename = fuse.fuse_rename_in.encode({ newdir: to.id });
        const rename2 = fuse.fuse_rename2_in.encode({ newdir: to.id, flags });
        if (flags === 0) await this.#client.request('RENAME', from.id, [rename, ...names]);
        else await this.#client.request('RENAME2', from.id, [rename2, ...names]);
      }),
    );
  }

  /** An extended attribute; `undefined` where there is none of that name. */
  getXattr(path: string, name: string): Promise<Uint8Array | undefined> {
    return this.#paths.at(
      path,
      async ({ id }) => {
        const body = [fuse.fuse_getxattr_in.encode({ size: longestXattr }), terminated(name)];
        try {
          return await this.#client.request('GETXATTR', id, body, longestXattr);
        } catch (error) {
          if (error instanceof FsError && error.code === 'ENODATA') return undefined;
          throw error;
        }
      },
      false,
    );
  }

  setXattr(path: string, name: string, value: Uint8Array, how?: 'create' | 'replace'): Promise<void> {
    const { CREATE, REPLACE } = xattrFlag;
    const flags = how === undefined ? 0 : { create: CREATE, replace: REPLACE }[how];
    const whole = fuse.fuse_setxattr_in.encode({ size: value.length, flags });
    // Before SETXATTR_EXT two fields are all of it.
    const body = this.has('SETXATTR_EXT') ? whole : whole.subarray(0, 8);
    return this.#paths.at(
      path,
      async ({ id }) => {
        await this.#client.request('SETXATTR', id, [body, terminated(name), value]);
      },
      false,
    );
  }

  listXattrs(path: string): Promise<string[]> {
    return this.#paths.at(
      path,
      async ({ id }) => {
        const body = [fuse.fuse_getxattr_in.encode({ size: longestXattr })];
        const names = decodeName(await this.#client.request('LISTXATTR', id, body, longestXattr));
        return names.split('\0').filter((name) => name !== '');
      },
      false,
    );
  }

  removeXattr(path: string, name: string): Promise<void> {
    return this.#paths.at(
      path,
      async ({ id }) => {
        await this.#client.request('REMOVEXATTR', id, [terminated(name)]);
      },
      false,
    );
  }

  /** EACCES, or EROFS, unless the device's own rules let its asker do so: 4 to read, 2 to write, 1 to execute. */
  access(path: string, mask: number): Promise<void> {
    return this.#paths.at(path, async ({ id }) => {
      await this.#client.request('ACCESS', id, [fuse.fuse_access_in.encode({ mask })]);
    });
  }

  async statistics(): Promise<TreeStatistics> {
    return this.#paths.at('/', async ({ id }) => {
      const { st } = fuse.fuse_statfs_out.read(dataView(await this.#client.request('STATFS', id, [])));
      const { blocks, bfree, bavail, files, ffree, bsize, frsize, namelen } = st;
      return { blocks, bfree, bavail, files, ffree, bsize, frsize, namelen };
    });
  }

  /** Makes everything stable, where the device can. */
  async sync(): Promise<void> {
    await this.#paths.at('/', ({ id }) =>
      this.#client.request('SYNCFS', id, [fuse.fuse_syncfs_in.encode({})]),
    );
  }

  /** Ends the session and closes the device. */
  async close(): Promise<void> {
    try {
      await this.#client.request('DESTROY', 0, []);
    } catch (error) {
      // A device that is closed anyway need not say that it is: virtiofsd says nothing at all.
      if (!(error instanceof FsError || error instanceof PeerError))
        await this.#device.close().then(() => Promise.reject(error));
    }
    await this.#device.close();
  }

  async #open(nodeId: number, flags: number): Promise<FsFile> {
    const answer = await this.#client.request('OPEN', nodeId, [fuse.fuse_open_in.encode({ flags })]);
    return this.#file(nodeId, fuse.fuse_open_out.field.fh.get(dataView(answer)), flags);
  }

  /** An open file keeps its node: it is found once more, and forgotten when it is closed. */
  #file(nodeId: number, handle: number, flags: number): FsFile {
    this.#client.keep(nodeId);
    return new FsFile(this.#client, nodeId, handle, flags);
  }

  async #create(directory: FoundNode, name: string, mode: number, flags: number): Promise<FsFile> {
    return this.#created('CREATE', directory, name, mode, flags);
  }

  async #created(
    request: 'CREATE' | 'TMPFILE',
    directory: FoundNode,
    name: string,
    mode: number,
    flags: number,
  ): Promise<FsFile> {
    const body = fuse.fuse_create_in.encode({ flags, mode: mode | fileType.REGULAR });
    const answer = await this.#client.request(request, directory.id, [body, terminated(name)]);
    const { id } = readEntry(answer);
    const { fh } = fuse.fuse_open_out.field;
    return new FsFile(this.#client, id, fh.get(dataView(answer), fuse.fuse_entry_out.size), flags);
  }

  /** Makes something by its name, and forgets it. */
  #make(
    request: 'MKDIR' | 'MKNOD' | 'SYMLINK' | 'LINK',
    path: string,
    before: readonly Uint8Array[],
    behind: readonly Uint8Array[] = [],
  ): Promise<void> {
    return this.#paths.within(path, async ({ id }, name) => {
      const made = await this.#client.request(request, id, [...before, terminated(name), ...behind]);
      this.#client.forget(readEntry(made).id);
    });
  }

  async #list(nodeId: number, withAttributes: boolean): Promise<DirectoryItem[]> {
    const opened = await this.#client.request('OPENDIR', nodeId, [fuse.fuse_open_in.encode({})]);
    const fh = fuse.fuse_open_out.field.fh.get(dataView(opened));
    const items: DirectoryItem[] = [];
    try {
      for (let offset = 0n; ; ) {
        const size = Math.min(listingRoom, this.#client.mostData);
        const body = fuse.fuse_read_in.encode({ fh, size });
        dataView(body).setBigUint64(fuse.fuse_read_in.field.offset.offset, offset, true);
        const kind = withAttributes ? 'READDIRPLUS' : 'READDIR';
        const answer = await this.#client.request(kind, nodeId, [body], size);
        const listed = readListing(answer, withAttributes);
        for (const { name, ino, type, attributes, nodeId: told } of listed) {
          this.#client.forget(told);
          if (name === '.' || name === '..') continue;
          items.push({ name, ino, type, ...(attributes === undefined ? {} : { attributes }) });
        }
        const next = listed.at(-1)?.next;
        if (next === undefined) return items;
        if (next === offset || items.length > mostEntries) {
          throw new PeerError('BAD_RESPONSE', 'the file system device lists a directory without end');
        }
        offset = next;
      }
    } finally {
      await this.#client.request('RELEASEDIR', nodeId, [fuse.fuse_release_in.encode({ fh })]);
      await this.#client.flush();
    }
  }
}

/**
 * Opens a file system device and begins a FUSE session with it.
 *
 * @example
 * const files = await openFs(transport);
 * await files.writeFile('/hello.txt', encodeUtf8('Hello\n'));
 *
 * @throws what `open` throws; {FsError} when the device refuses a session.
 * @spec 5.11.4.1 driver: Device Types / File System Device / Device configuration layout
 */
export async function openFs(transport: Transport, options: OpenFsOptions = {}): Promise<OpenFs> {
  const wanted = Math.max(1, options.queues ?? 1);
  let used = 1;
  const device = await open(transport, fs, {
    ...options,
    queueSize: options.queueSize ?? 1024,
    features: options.onNotification === undefined ? [] : ['NOTIFICATION'],
    queues(negotiated) {
      used = Math.min(wanted, Math.max(1, negotiated.config.num_request_queues ?? 1));
      const numbers = Array.from({ length: used }, (_, number) => number);
      const requestqs = numbers.map((number) => ({ name: 'requestq', number }) as const);
      const told = negotiated.has('NOTIFICATION') ? [{ name: 'notification' } as const] : [];
      return [{ name: 'hiprio' }, ...told, ...requestqs];
    },
  });
  if (device.has('NOTIFICATION')) takeNotifications(device, options.onNotification ?? (() => {}));
  const asker = { uid: 0, gid: 0, pid: 1, ...options.asker };
  const client = new FuseClient(device, used, asker);
  try {
    await client.init(options.window);
  } catch (error) {
    // The transport stays the caller's.
    await device.abandon().catch(() => {});
    throw error;
  }
  return new OpenFs(device, client);
}
