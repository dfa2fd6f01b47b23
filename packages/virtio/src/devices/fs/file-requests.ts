import type { Eventually } from '../../device/eventually.ts';
import { UsageError } from '../../errors.ts';
import type { Allocation, Created, OpenFile } from './file-tree.ts';
import type { Handle } from './handle-table.ts';
import { answerDone, answerWith, bounded, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { answerAt } from './output.ts';
import type { FuseRequest } from './request.ts';
import { chainOf, type Session } from './session.ts';
import { FsError } from './spec-errno.ts';
import {
  fallocateFlag,
  fileType,
  fsyncFlag,
  openFlag,
  releaseFlag,
  seekWhence,
  writeFlag,
} from './spec-fuse.ts';
import {
  fuse_copy_file_range_in,
  fuse_copy_file_range_out,
  fuse_create_in,
  fuse_fallocate_in,
  fuse_flush_in,
  fuse_fsync_in,
  fuse_lseek_in,
  fuse_lseek_out,
  fuse_open_in,
  fuse_read_in,
  fuse_release_in,
  fuse_write_in,
  fuse_write_out,
} from './spec-fuse-structs.ts';

const answerOpen = (session: Session, request: FuseRequest, file: OpenFile): void =>
  session.sendOpen(request, file, false);

const answerCreated = (session: Session, request: FuseRequest, created: Created<object, OpenFile>): void =>
  session.sendCreated(request, created);

/**
 * The flags to open a file with. A guest that holds writes back must read what it writes a part of, and appends by
 * itself.
 *
 * @throws {FsError} EROFS when they would change a tree that is read-only.
 */
function flagsFor(session: Session, given: number): number {
  const mode = given & openFlag.ACCMODE;
  if (mode === openFlag.ACCMODE) throw FsError.of('EINVAL');
  const changes = mode !== openFlag.RDONLY || (given & openFlag.TRUNC) !== 0;
  if (changes && session.tree.readOnly === true) throw FsError.of('EROFS');
  const flags = given & ~(openFlag.CREAT | openFlag.NOCTTY);
  if (!session.has('WRITEBACK_CACHE')) return flags;
  const widened = mode === openFlag.WRONLY ? (flags & ~openFlag.ACCMODE) | openFlag.RDWR : flags;
  return widened & ~openFlag.APPEND;
}

export const open: Handler = (session, request) => {
  const node = session.node(request);
  const given = fuse_open_in.field.flags.get(session.input.view, bodyAt);
  const flags = flagsFor(session, given) & ~openFlag.EXCL;
  session.checkHandles();
  request.detail = flags;
  return answerWith(session.tree.open(node, flags, request), session, request, answerOpen);
};

/** What a request says of the file that it makes: how it is opened, and its mode. */
function madeWith(session: Session): [flags: number, mode: number] {
  const { flags, mode } = fuse_create_in.field;
  const { view } = session.input;
  return [flagsFor(session, flags.get(view, bodyAt)), (mode.get(view, bodyAt) & 0o7777) | fileType.REGULAR];
}

export const create: Handler = (session, request) => {
  const directory = session.node(request);
  const [flags, mode] = madeWith(session);
  const name = session.input.name();
  session.checkHandles();
  request.detail = flags;
  // Without it the guest makes the file, and then opens it.
  const created = session.tree.create?.(directory, name, mode, flags, request) ?? missing();
  return answerWith(created, session, request, answerCreated);
};

export const temporary: Handler = (session, request) => {
  const directory = session.node(request);
  const [flags, mode] = madeWith(session);
  session.checkHandles();
  request.detail = flags;
  const created = session.tree.temporary?.(directory, mode, flags, request) ?? missing();
  return answerWith(created, session, request, answerCreated);
};

const reading = fuse_read_in.field;

export const read: Handler = (session, request) => {
  const { input, tree } = session;
  const handle = session.handle(request, reading.fh.get(input.view, bodyAt));
  if (!handle.mayRead) throw FsError.of('EBADF');
  const offset = bounded(reading.offset.get(input.view, bodyAt));
  const size = reading.size.get(input.view, bodyAt);
  const chain = chainOf(request);
  const { writable } = chain;
  if (size > session.mostData || size > writable.length - answerAt) throw FsError.of('EINVAL');
  request.detail = size;
  if (!tree.immediate) return readBounced(session, request, handle, offset, size);
  writable.seek(answerAt);
  const count = tree.read(handle.file, offset, writable.slices(size));
  if (count === undefined) {
    // Whatever was put there is none of the answer.
    writable.seek(0);
    chain.written = 0;
    return readBounced(session, request, handle, offset, size);
  }
  if (typeof count !== 'number')
    throw new UsageError('BAD_STATE', 'a tree that calls itself immediate gave a promise');
  session.sendBefore(request, checkCount(count, size));
  return undefined;
};

async function readBounced(
  session: Session,
  request: FuseRequest,
  handle: Handle,
  offset: number,
  size: number,
): Promise<void> {
  const target = new Uint8Array(size);
  const { tree } = session;
  const { file } = handle;
  const reads = tree.immediate ? tree.readLater?.(file, offset, target) : tree.read(file, offset, [target]);
  const count = checkCount(await reads, size);
  session.sendBytes(request, target.subarray(0, count));
}

/** A tree cannot have read or written more than it was asked to. */
function checkCount(count: number | undefined, most: number): number {
  if (count === undefined || !(count >= 0 && count <= most))
    throw new Error(`a file tree moved ${count} of ${most} bytes`);
  return count;
}

const writing = fuse_write_in.field;

export const write: Handler = (session, request) => {
  const { input, tree } = session;
  const { view } = input;
  const handle = session.handle(request, writing.fh.get(view, bodyAt));
  if (!handle.mayWrite) throw FsError.of('EBADF');
  const offset = bounded(writing.offset.get(view, bodyAt), 'EFBIG');
  const size = writing.size.get(view, bodyAt);
  const kills = (writing.write_flags.get(view, bodyAt) & writeFlag.KILL_SUIDGID) !== 0;
  if (tree.write === undefined) return missing('EBADF');
  const { readable } = chainOf(request);
  if (size > session.mostData || size > readable.remaining || size > request.length - readable.position) {
    throw FsError.of('EINVAL');
  }
  bounded(offset + size, 'EFBIG');
  request.detail = size;
  const sources = tree.immediate ? readable.slices(size) : [readable.bytes(size)];
  return answerWith(tree.write(handle.file, offset, sources, kills), session, request, answerWritten);
};

function answerWritten(session: Session, request: FuseRequest, count: number): void {
  const { view } = session.output;
  fuse_write_out.field.size.set(view, answerAt, checkCount(count, request.detail));
  fuse_write_out.field.padding.set(view, answerAt, 0);
  session.send(request, fuse_write_out.size);
}

export const flush: Handler = (session, request) => {
  const { input, tree } = session;
  const { fh, lock_owner } = fuse_flush_in.field;
  const handle = session.handle(request, fh.get(input.view, bodyAt));
  const unlocked =
    session.owners.size === 0
      ? undefined
      : session.owners.unlockRanges(tree, handle, lock_owner.get(input.view, bodyAt));
  const flushed = (): Eventually<void> => {
    if (tree.flush === undefined) return unlockedOnly(session, request);
    return answerWith(tree.flush(handle.file), session, request, answerDone);
  };
  return unlocked instanceof Promise ? unlocked.then(flushed) : flushed();
};

/** Where nothing fails late the guest need not ask again, unless closing gives back locks. */
function unlockedOnly(session: Session, request: FuseRequest): void {
  if (session.has('POSIX_LOCKS')) session.done(request);
  else missing();
}

export const release: Handler = (session, request) => {
  const { input, tree } = session;
  const { fh, release_flags, lock_owner } = fuse_release_in.field;
  const handle = session.handle(request, fh.get(input.view, bodyAt));
  const isFlock = (release_flags.get(input.view, bodyAt) & releaseFlag.FLOCK_UNLOCK) !== 0;
  if (isFlock && session.owners.size > 0) {
    const owner = lock_owner.get(input.view, bodyAt);
    void session.quietly(() => session.owners.unlockWhole(tree, handle, owner));
  }
  return closeHandle(session, request, handle);
};

/** The guest cannot name it any more, whatever becomes of what is under way with it. */
export function closeHandle(session: Session, request: FuseRequest, handle: Handle): void {
  request.handle = undefined;
  session.handles.remove(handle);
  session.close(handle);
  session.done(request);
}

export const fsync: Handler = (session, request) => {
  const { input, tree } = session;
  const { fh, fsync_flags } = fuse_fsync_in.field;
  const handle = session.handle(request, fh.get(input.view, bodyAt));
  const dataOnly = (fsync_flags.get(input.view, bodyAt) & fsyncFlag.FDATASYNC) !== 0;
  if (tree.fsync === undefined) return missing();
  return answerWith(tree.fsync(handle.file, dataOnly), session, request, answerDone);
};

const { KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE, UNSHARE_RANGE } = fallocateFlag;

/** What each value of `mode` without KEEP_SIZE is for, and whether it can be with that bit; it must be to punch. */
const allocations = new Map<number, { kind: Allocation['kind']; keeps: 'may' | 'must' | 'never' }>([
  [0, { kind: 'allocate', keeps: 'may' }],
  [PUNCH_HOLE, { kind: 'punch', keeps: 'must' }],
  [COLLAPSE_RANGE, { kind: 'collapse', keeps: 'never' }],
  [ZERO_RANGE, { kind: 'zero', keeps: 'may' }],
  [INSERT_RANGE, { kind: 'insert', keeps: 'never' }],
  [UNSHARE_RANGE, { kind: 'unshare', keeps: 'may' }],
]);

export const allocate: Handler = (session, request) => {
  const { input, tree } = session;
  const given = fuse_fallocate_in.read(input.view, bodyAt);
  const handle = session.handle(request, given.fh);
  if (!handle.mayWrite) throw FsError.of('EBADF');
  const keepSize = (given.mode & KEEP_SIZE) !== 0;
  const way = allocations.get(given.mode & ~KEEP_SIZE);
  if (way === undefined || tree.allocate === undefined) return missing('EOPNOTSUPP');
  if ((way.keeps === 'must' && !keepSize) || (way.keeps === 'never' && keepSize))
    return missing('EOPNOTSUPP');
  if (given.length === 0) throw FsError.of('EINVAL');
  bounded(given.offset + given.length, 'EFBIG');
  const how = { kind: way.kind, keepSize };
  const done = tree.allocate(handle.file, given.offset, given.length, how);
  return answerWith(done, session, request, answerDone);
};

export const seek: Handler = (session, request) => {
  const { input, tree } = session;
  const given = fuse_lseek_in.read(input.view, bodyAt);
  const handle = session.handle(request, given.fh);
  if (tree.seek === undefined) return missing();
  const isData = given.whence === seekWhence.DATA;
  if (!isData && given.whence !== seekWhence.HOLE) throw FsError.of('EINVAL');
  const found = tree.seek(handle.file, bounded(given.offset, 'ENXIO'), isData ? 'data' : 'hole');
  return answerWith(found, session, request, answerOffset);
};

function answerOffset(session: Session, request: FuseRequest, offset: number): void {
  fuse_lseek_out.field.offset.set(session.output.view, answerAt, offset);
  session.send(request, fuse_lseek_out.size);
}

/** The most that an answer's 32 bits can tell, and as much as Linux moves at once. */
const mostCopied = 0x7fff_f000;

export const copyRange: Handler = (session, request) =>
  copyAtMost(session, request, mostCopied, answerWritten);

export const copyRange64: Handler = (session, request) =>
  copyAtMost(session, request, Number.MAX_SAFE_INTEGER, answerCopied);

function copyAtMost(
  session: Session,
  request: FuseRequest,
  most: number,
  answer: (session: Session, request: FuseRequest, count: number) => void,
): Eventually<void> {
  const { input, tree } = session;
  const given = fuse_copy_file_range_in.read(input.view, bodyAt);
  const from = session.handle(request, given.fh_in);
  const to = session.handles.get(given.fh_out, given.nodeid_out, false);
  request.otherHandle = to;
  if (!from.mayRead || !to.mayWrite) throw FsError.of('EBADF');
  if (given.flags !== 0) throw FsError.of('EINVAL');
  if (tree.copyRange === undefined) return missing('EOPNOTSUPP');
  bounded(given.off_in + given.len);
  bounded(given.off_out + given.len, 'EFBIG');
  const length = Math.min(given.len, most);
  request.detail = length;
  const copied = tree.copyRange(from.file, given.off_in, to.file, given.off_out, length);
  return answerWith(copied, session, request, answer);
}

function answerCopied(session: Session, request: FuseRequest, count: number): void {
  fuse_copy_file_range_out.field.bytes_copied.set(
    session.output.view,
    answerAt,
    checkCount(count, request.detail),
  );
  session.send(request, fuse_copy_file_range_out.size);
}
