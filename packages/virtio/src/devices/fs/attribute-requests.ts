import type { AttributeChanges, Attributes, FileTime, TreeStatistics } from './file-tree.ts';
import { answerDone, answerWith, bounded, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { answerAt } from './output.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { writeStatx } from './spec-attribute-structs.ts';
import { FsError } from './spec-errno.ts';
import { getattrFlag, longestName, setattrValid } from './spec-fuse.ts';
import {
  fuse_access_in,
  fuse_getattr_in,
  fuse_kstatfs,
  fuse_setattr_in,
  fuse_statfs_out,
  fuse_statx_in,
  fuse_statx_out,
} from './spec-fuse-structs.ts';

const answerAttributes = (session: Session, request: FuseRequest, attributes: Attributes): void =>
  session.sendAttributes(request, attributes);

const getattr = fuse_getattr_in.field;

export const getAttributes: Handler = (session, request) => {
  const { view } = session.input;
  const node = session.node(request);
  const isOpen = (getattr.getattr_flags.get(view, bodyAt) & getattrFlag.FH) !== 0;
  const file = isOpen ? fileOf(session, request, getattr.fh.get(view, bodyAt)) : undefined;
  return answerWith(session.tree.attributes(node, file), session, request, answerAttributes);
};

const statx = fuse_statx_in.field;

export const getStatx: Handler = (session, request) => {
  const { view } = session.input;
  const node = session.node(request);
  const isOpen = (statx.getattr_flags.get(view, bodyAt) & getattrFlag.FH) !== 0;
  const file = isOpen ? fileOf(session, request, statx.fh.get(view, bodyAt)) : undefined;
  return answerWith(session.tree.attributes(node, file), session, request, answerStatx);
};

/** The open file, or directory, of that number. */
function fileOf(session: Session, request: FuseRequest, fh: number) {
  const handle = session.handles.ofNode(fh, request.nodeid);
  request.handle = handle;
  return handle.file;
}

function answerStatx(session: Session, request: FuseRequest, attributes: Attributes): void {
  const { bytes, view } = session.output;
  const { attr_valid, attr_valid_nsec, stat } = fuse_statx_out.field;
  bytes.fill(0, answerAt);
  attr_valid.set(view, answerAt, session.attributeLifetime.seconds);
  attr_valid_nsec.set(view, answerAt, session.attributeLifetime.nanoseconds);
  writeStatx(view, answerAt + stat.offset, attributes);
  session.send(request, fuse_statx_out.size);
}

export const setAttributes: Handler = (session, request) => {
  const { input, tree } = session;
  const node = session.node(request);
  if (tree.setAttributes === undefined) return missing('EPERM');
  const given = fuse_setattr_in.read(input.view, bodyAt);
  const has = (bit: number): boolean => (given.valid & bit) !== 0;
  const time = (bit: number, now: number, seconds: number, nanoseconds: number): FileTime | undefined => {
    if (!has(bit)) return undefined;
    if (has(now)) return 'now';
    if (nanoseconds > 999_999_999) throw FsError.of('EINVAL');
    return { seconds, nanoseconds };
  };
  const { MODE, UID, GID, SIZE, FH, ATIME, MTIME, CTIME, ATIME_NOW, MTIME_NOW, KILL_SUIDGID } = setattrValid;
  const atime = time(ATIME, ATIME_NOW, given.atime, given.atimensec);
  const mtime = time(MTIME, MTIME_NOW, given.mtime, given.mtimensec);
  const ctime = time(CTIME, 0, given.ctime, given.ctimensec);
  const changes: AttributeChanges = {
    ...(has(MODE) ? { mode: given.mode & 0o7777 } : {}),
    ...(has(UID) ? { uid: given.uid } : {}),
    ...(has(GID) ? { gid: given.gid } : {}),
    ...(has(SIZE) ? { size: bounded(given.size, 'EFBIG') } : {}),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
    ...(ctime === undefined ? {} : { ctime }),
    ...(has(KILL_SUIDGID) ? { killPrivileges: true } : {}),
  };
  const handle = has(FH) ? session.handle(request, given.fh) : undefined;
  if (handle !== undefined && has(SIZE) && !handle.mayWrite) throw FsError.of('EBADF');
  const changed = tree.setAttributes(node, changes, handle?.file, request);
  return answerWith(changed, session, request, answerAttributes);
};

export const access: Handler = (session, request) => {
  const { input, tree } = session;
  const node = session.node(request);
  const mask = fuse_access_in.field.mask.get(input.view, bodyAt);
  if (mask > 7) throw FsError.of('EINVAL');
  if (tree.readOnly === true && (mask & 2) !== 0) throw FsError.of('EROFS');
  if (tree.access === undefined) return missing();
  return answerWith(tree.access(node, mask, request), session, request, answerDone);
};

export const statistics: Handler = (session, request) => {
  const node = session.node(request);
  return answerWith(session.tree.statistics?.(node) ?? unknown, session, request, answerStatistics);
};

const unknown: TreeStatistics = {
  blocks: 0,
  bfree: 0,
  bavail: 0,
  files: 0,
  ffree: 0,
  bsize: 4096,
  frsize: 4096,
  namelen: longestName,
};

function answerStatistics(session: Session, request: FuseRequest, statistics: TreeStatistics): void {
  const { bytes, view } = session.output;
  bytes.fill(0, answerAt);
  fuse_kstatfs.write(view, answerAt, { ...statistics });
  session.send(request, fuse_statfs_out.size);
}

export const syncAll: Handler = (session, request) => {
  const { tree } = session;
  const node = session.node(request);
  if (tree.syncAll === undefined) return missing();
  return answerWith(tree.syncAll(node), session, request, answerDone);
};
