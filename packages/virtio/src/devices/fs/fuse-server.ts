import { PeerError, type VirtioError } from '../../errors.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import * as attributes from './attribute-requests.ts';
import * as directories from './directory-requests.ts';
import * as files from './file-requests.ts';
import type { FileTree, OpenFile } from './file-tree.ts';
import type { Handler } from './handler.ts';
import { bodyAt } from './input.ts';
import * as locks from './lock-requests.ts';
import * as mappings from './mapping-requests.ts';
import * as names from './name-requests.ts';
import { answerAt } from './output.ts';
import { FuseRequest } from './request.ts';
import { type FsLimits, Session } from './session.ts';
import * as sessions from './session-requests.ts';
import { fsClauses } from './spec.ts';
import { type FuseOpcodeName, fuseOpcode, initSwapped } from './spec-fuse.ts';
import { fuseRequests } from './spec-fuse-requests.ts';
import { fuse_in_header } from './spec-fuse-structs.ts';
import type { FsWindow } from './window.ts';
import * as xattrs from './xattr-requests.ts';

/** Who carries out what. */
const handlers: Readonly<Record<FuseOpcodeName, Handler>> = {
  LOOKUP: names.lookup,
  FORGET: sessions.forget,
  GETATTR: attributes.getAttributes,
  SETATTR: attributes.setAttributes,
  READLINK: names.readLink,
  SYMLINK: names.symlink,
  MKNOD: names.makeNode,
  MKDIR: names.makeDirectory,
  UNLINK: names.unlink,
  RMDIR: names.removeDirectory,
  RENAME: names.rename,
  LINK: names.link,
  OPEN: files.open,
  READ: files.read,
  WRITE: files.write,
  STATFS: attributes.statistics,
  RELEASE: files.release,
  FSYNC: files.fsync,
  SETXATTR: xattrs.setXattr,
  GETXATTR: xattrs.getXattr,
  LISTXATTR: xattrs.listXattrs,
  REMOVEXATTR: xattrs.removeXattr,
  FLUSH: files.flush,
  INIT: sessions.init,
  OPENDIR: directories.openDirectory,
  READDIR: directories.readDirectory,
  RELEASEDIR: directories.releaseDirectory,
  FSYNCDIR: directories.syncDirectory,
  GETLK: locks.findLock,
  SETLK: locks.setLock,
  SETLKW: locks.setLockWaiting,
  ACCESS: attributes.access,
  CREATE: files.create,
  INTERRUPT: sessions.interrupt,
  BMAP: sessions.unsupported,
  DESTROY: sessions.destroy,
  IOCTL: sessions.unsupported,
  POLL: sessions.unsupported,
  NOTIFY_REPLY: sessions.unexpected,
  BATCH_FORGET: sessions.forgetMany,
  FALLOCATE: files.allocate,
  READDIRPLUS: directories.readDirectoryPlus,
  RENAME2: names.rename2,
  LSEEK: files.seek,
  COPY_FILE_RANGE: files.copyRange,
  SETUPMAPPING: mappings.setUpMapping,
  REMOVEMAPPING: mappings.removeMapping,
  SYNCFS: attributes.syncAll,
  TMPFILE: files.temporary,
  STATX: attributes.getStatx,
  COPY_FILE_RANGE_64: files.copyRange64,
};

/** A kind of request as it is looked up by its number. */
interface Kind {
  readonly handler: Handler;
  /** Bytes that the request must have, at the very least, and that its answer needs. */
  readonly least: number;
  readonly answer: number;
  /** Where names and data begin. */
  readonly behind: number;
  readonly isPriority: boolean;
  readonly isSilent: boolean;
  readonly changes: boolean;
}

const kinds: (Kind | undefined)[] = [];
// The keys of the table are its names.
for (const [name, opcode] of Object.entries(fuseOpcode) as [FuseOpcodeName, number][]) {
  const form = fuseRequests[name];
  const size = form.in?.size ?? 0;
  kinds[opcode] = {
    handler: handlers[name],
    least: bodyAt + (form.least ?? size),
    answer: form.silent === true ? 0 : answerAt + (form.out?.size ?? 0),
    behind: bodyAt + size,
    isPriority: form.priority === true,
    isSilent: form.silent === true,
    changes: form.changes === true,
  };
}

const { len, opcode: opcodeField, nodeid, uid, gid, pid } = fuse_in_header.field;
const uniqueAt = fuse_in_header.field.unique.offset;

/**
 * Answers the requests of one guest out of a file tree. Whatever the guest sends is bounded and looked at here before it
 * reaches the tree: what can be answered is answered with an error, and what cannot breaks its queue.
 */
export class FuseServer {
  readonly session: Session;
  readonly #spare: FuseRequest[] = [];

  constructor(options: {
    readonly tree: FileTree<object, OpenFile>;
    readonly limits: FsLimits;
    readonly mostData: number;
    readonly window?: FsWindow | undefined;
    readonly onError: ((error: VirtioError) => void) | undefined;
  }) {
    this.session = new Session(options);
  }

  /** The driver is gone, and with it all that it knew and had open. */
  reset(): void {
    this.session.end();
    this.session.setEndian('little');
  }

  /**
   * Carries out a request; `chain` has its answer when it returns, or when the promise settles.
   *
   * @throws {PeerError} BAD_REQUEST for what cannot be answered, or is in the wrong queue.
   * @spec 5.11.6.2.1 device: Device Types / File System Device / Device Operation / Device Operation: High Priority Queue
   */
  serve(chain: Chain, isPriority: boolean): void | Promise<void> {
    const { session } = this;
    const { input } = session;
    if (!input.takeHeader(chain)) {
      throw new PeerError('BAD_REQUEST', `a request of ${chain.readable.length} bytes has no whole header`);
    }
    const request = this.#spare.pop() ?? new FuseRequest();
    try {
      const pending = this.#begin(request, chain, isPriority);
      if (pending instanceof Promise) return this.#wait(request, pending);
    } catch (error) {
      this.#failed(request, error);
    }
    this.#over(request);
  }

  #begin(request: FuseRequest, chain: Chain, isPriority: boolean): void | Promise<void> {
    const { session } = this;
    const { input } = session;
    request.chain = chain;
    request.epoch = session.epoch;
    for (let i = 0; i < 8; i++) request.unique[i] = input.bytes[uniqueAt + i]!;
    const number = opcodeField.get(input.view, 0);
    const opcode = number === initSwapped ? this.#swap() : number;
    const { view } = input;
    const length = len.get(view, 0);
    const kind = kinds[opcode];
    this.#checkQueue(kind, opcode, isPriority);
    if (kind?.isSilent !== true && chain.writable.length < answerAt) {
      throw new PeerError('BAD_REQUEST', `a request leaves ${chain.writable.length} bytes for its answer`);
    }
    request.opcode = opcode;
    request.length = length;
    request.nodeid = nodeid.get(view, 0);
    request.uid = uid.get(view, 0);
    request.gid = gid.get(view, 0);
    request.pid = pid.get(view, 0);
    if (kind === undefined) return session.fail(request, 'ENOSYS');
    if (length < kind.least || length > chain.readable.length || chain.writable.length < kind.answer) {
      if (!kind.isSilent) session.fail(request, 'EINVAL');
      return;
    }
    if (opcode === fuseOpcode.INIT) {
      session.end();
      request.epoch = session.epoch;
    } else if (!session.begun) {
      if (!kind.isSilent) session.fail(request, 'EIO');
      return;
    }
    if (kind.changes && session.tree.readOnly === true) return session.fail(request, 'EROFS');
    input.takeBody(chain, length, opcode === fuseOpcode.WRITE);
    input.at = kind.behind;
    return kind.handler(session, request);
  }

  /** A driver of the other byte order begins a session: all its numbers are read that way from here on. */
  #swap(): number {
    const { session } = this;
    session.setEndian(session.endian === 'little' ? 'big' : 'little');
    return fuseOpcode.INIT;
  }

  /**
   * @spec 5.11.6.2.2 driver: Device Types / File System Device / Device Operation / Device Operation: High Priority Queue
   */
  #checkQueue(kind: Kind | undefined, opcode: number, isPriority: boolean): void {
    if (kind === undefined || kind.isPriority === isPriority) return;
    const where = isPriority ? 'the high priority queue' : 'a request queue';
    throw new PeerError('BAD_REQUEST', `request ${opcode} was put in ${where}`, fsClauses.priority);
  }

  async #wait(request: FuseRequest, pending: Promise<void>): Promise<void> {
    request.hold();
    try {
      await pending;
    } catch (error) {
      this.#failed(request, error);
    } finally {
      this.session.letGo(request);
      this.#over(request);
    }
  }

  #failed(request: FuseRequest, error: unknown): void {
    if (error instanceof PeerError) throw error;
    this.session.fail(request, this.session.errnoOf(error));
  }

  #over(request: FuseRequest): void {
    request.forgetAll();
    this.#spare.push(request);
  }
}
