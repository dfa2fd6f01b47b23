import { type ActiveDevice, Device } from '../../device/device.ts';
import { UsageError, type VirtioError } from '../../errors.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import { isPowerOfTwo } from '../../spec/power-of-two.ts';
import { encodeUtf8 } from '../../spec/utf8.ts';
import type { FileTree, OpenFile } from './file-tree.ts';
import { FuseServer } from './fuse-server.ts';
import { longestNotification, Notifications } from './notifications.ts';
import { restoreSession, saveSession } from './saved.ts';
import type { FsLimits } from './session.ts';
import { fs, longestTag } from './spec.ts';
import type { FsWindow } from './window.ts';

export type { FsLimits } from './session.ts';

/** What a file system device is made of. */
export interface FsOptions<N extends object = object, F extends OpenFile = OpenFile> {
  /** What the guest mounts it by: 1 to 36 bytes in UTF-8. */
  readonly tag: string;
  readonly files: FileTree<N, F>;
  /** Request queues; 1 unless told. */
  readonly queues?: number;
  /** The largest queue size, in descriptors; 1024 unless told, which a request of 1 MiB of single pages fits in. */
  readonly queueSize?: number;
  /** Bytes of data in one request at most: 1 MiB unless told; a power of two from 4 KiB to 128 MiB. */
  readonly maxData?: number;
  /** Lets the guest map files instead of reading and writing them: a window that can show those of the tree. */
  readonly window?: FsWindow<F>;
  readonly limits?: FsLimits;
  /**
   * Offers the notification queue, by which the guest is told of what changed beneath it; Linux's driver has none. False
   * unless told.
   */
  readonly notifications?: boolean;
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
  /** Hears what a file tree failed with that is no file system's error: the guest reads EIO. */
  readonly onError?: (error: VirtioError) => void;
}

/** A file system device. */
export class FsDevice extends Device<typeof fs> {
  readonly tag: string;
  readonly #server: FuseServer;
  readonly #notifications: Notifications;

  /** @internal Use {@link fsDevice}. */
  constructor(options: FsOptions) {
    const { tag, queues = 1, queueSize = 1024, maxData = 2 ** 20 } = options;
    const encodedTag = encodeUtf8(tag);
    if (encodedTag.length < 1 || encodedTag.length > longestTag || tag.includes('\0')) {
      throw new UsageError('BAD_ARGUMENT', `tag ${JSON.stringify(tag)}: give 1 to 36 bytes without a NUL`);
    }
    if (!isPowerOfTwo(maxData) || maxData < 4096 || maxData > 2 ** 27) {
      throw new UsageError('BAD_ARGUMENT', `maxData ${maxData}: give a power of two from 4096 to 2^27`);
    }
    if (!Number.isInteger(queues) || queues < 1) {
      throw new UsageError('BAD_ARGUMENT', `${queues} request queues: give at least one`);
    }
    if (options.window !== undefined) checkWindow(options.window);
    const server = new FuseServer({
      tree: options.files,
      limits: options.limits ?? {},
      mostData: maxData,
      window: options.window,
      onError: options.onError,
    });
    let active: ActiveDevice<typeof fs> | undefined;
    const notifications = new Notifications(server.session, () => active?.queue('notification'));
    super(fs, {
      offers: options.notifications === true ? ['NOTIFICATION'] : [],
      reserved: options.reserved,
      queues: { hiprio: { size: queueSize }, requestq: { count: queues, size: queueSize } },
      config: {
        tag: encodedTag,
        num_request_queues: queues,
        notify_buf_size: options.notifications === true ? longestNotification : 0,
      },
      activate: (now) => {
        active = now;
      },
      available: { notification: () => notifications.flush() },
      serve: {
        hiprio: (chain) => server.serve(chain, true),
        requestq: (chain) => server.serve(chain, false),
      },
      reset: () => {
        active = undefined;
        notifications.clear();
        server.reset();
      },
      save: () => saveSession(server.session),
      restore: (state) => {
        // The configuration is the one that was saved; the tag is this device's.
        this.configSpace.update({ tag: encodedTag, num_request_queues: queues });
        restoreSession(server.session, state);
      },
    });
    this.tag = tag;
    this.#server = server;
    this.#notifications = notifications;
  }

  /** True when the driver takes notifications. */
  get notifies(): boolean {
    return this.#notifications.mayTell;
  }

  /**
   * Tells the guest that what it keeps of a file is old: a range of its data, all unless told, and its attributes. `node` is
   * the tree's own object. False when the guest cannot be told: it takes no notifications, or too many wait for it.
   */
  fileChanged(node: object, offset = 0, length = 0): boolean {
    return this.#notifications.file(node, offset, length);
  }

  /** Tells the guest that a name in a directory stands for something else than it did, or for nothing any more. */
  nameChanged(directory: object, name: string): boolean {
    return this.#notifications.name(directory, name);
  }

  /** Tells the guest that a file has lost a name, as if it had been removed by the guest itself. */
  nameRemoved(directory: object, node: object, name: string): boolean {
    return this.#notifications.removed(directory, node, name);
  }

  /** Files that the guest knows, the root among them. */
  get knownFiles(): number {
    return this.#server.session.nodes.size;
  }

  /** Ranges of files that are in the window. */
  get mappings(): number {
    return this.#server.session.mappings?.size ?? 0;
  }

  /** Files and directories that the guest has open. */
  get openFiles(): number {
    return this.#server.session.handles.size;
  }
}

/**
 * Shares a tree of files with a guest, which mounts it by its tag.
 *
 * @example
 * const files = memoryFiles();
 * files.writeFile('/hello.txt', 'Hello\n');
 * const share = fsDevice({ tag: 'share', files });
 *
 * @throws {UsageError} BAD_ARGUMENT for a tag or sizes that cannot be.
 * @spec 5.11.4.2 device: Device Types / File System Device / Device configuration layout
 */
export function fsDevice<N extends object, F extends OpenFile>(options: FsOptions<N, F>): FsDevice {
  // The device gives a tree back its own objects alone, so it may have forgotten their types.
  return new FsDevice(options as unknown as FsOptions);
}

function checkWindow({ length, alignment }: FsWindow): void {
  if (!isPowerOfTwo(alignment) || alignment < 4096 || !(length > 0) || length % alignment !== 0) {
    throw new UsageError('BAD_ARGUMENT', `a window of ${length} bytes cannot be aligned to ${alignment}`);
  }
}
