import type { FileLock, Interruption } from './file-tree.ts';
import { answerDone, answerWith, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { answerAt } from './output.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { FsError } from './spec-errno.ts';
import { lockFlag, lockType } from './spec-fuse.ts';
import { fuse_file_lock, fuse_lk_in, fuse_lk_out } from './spec-fuse-structs.ts';

const typeOf = (type: number): FileLock['type'] => {
  if (type === lockType.RDLCK) return 'read';
  if (type === lockType.WRLCK) return 'write';
  if (type === lockType.UNLCK) return 'unlock';
  throw FsError.of('EINVAL');
};

const numberOf: Readonly<Record<FileLock['type'], number>> = {
  read: lockType.RDLCK,
  write: lockType.WRLCK,
  unlock: lockType.UNLCK,
};

const read = ({ input }: Session) => fuse_lk_in.read(input.view, bodyAt);

function lockOf({ lk, lk_flags }: ReturnType<typeof read>, owner: object): FileLock {
  const start = lk.start;
  const isOpenEnded = lk.end > Number.MAX_SAFE_INTEGER;
  if (start > Number.MAX_SAFE_INTEGER || (!isOpenEnded && lk.end < start)) throw FsError.of('EINVAL');
  return {
    type: typeOf(lk.type),
    start,
    end: isOpenEnded ? Number.POSITIVE_INFINITY : lk.end,
    owner,
    pid: lk.pid,
    whole: (lk_flags & lockFlag.FLOCK) !== 0,
  };
}

export const findLock: Handler = (session, request) => {
  const { tree } = session;
  const given = read(session);
  // Like an open file, a directory can be locked whole.
  const handle = session.handles.ofNode(given.fh, request.nodeid);
  request.handle = handle;
  if (tree.findLock === undefined) return missing();
  const found = tree.findLock(handle.file, lockOf(given, session.owners.get(given.owner)));
  return answerWith(found, session, request, answerLock);
};

function answerLock(session: Session, request: FuseRequest, lock: FileLock | undefined): void {
  const { view } = session.output;
  fuse_file_lock.write(view, answerAt, {
    start: lock?.start ?? 0,
    end: 0,
    type: numberOf[lock?.type ?? 'unlock'],
    pid: lock?.pid ?? 0,
  });
  const end = lock?.end ?? 0;
  const { end: field } = fuse_file_lock.field;
  if (end === Number.POSITIVE_INFINITY) session.writeLargest(answerAt + field.offset);
  else field.set(view, answerAt, end);
  session.send(request, fuse_lk_out.size);
}

export const setLock: Handler = (session, request) => lock(session, request, undefined);

export const setLockWaiting: Handler = (session, request) => {
  const id = session.uniqueOf(request);
  const wait: Interruption & { interrupted: boolean } = {
    interrupted: session.early.delete(id),
    onInterrupt: undefined,
  };
  session.waiting.set(id, () => {
    if (wait.interrupted) return;
    wait.interrupted = true;
    wait.onInterrupt?.();
  });
  const over = (): void => void session.waiting.delete(id);
  try {
    const locked = lock(session, request, wait);
    if (locked instanceof Promise) return locked.finally(over);
    over();
    return locked;
  } catch (error) {
    over();
    throw error;
  }
};

function lock(session: Session, request: FuseRequest, wait: Interruption | undefined) {
  const { tree } = session;
  const given = read(session);
  const handle = session.handles.ofNode(given.fh, request.nodeid);
  request.handle = handle;
  if (tree.setLock === undefined) return missing();
  const { owner } = given;
  const wanted = lockOf(given, session.owners.get(owner));
  if (wanted.type !== 'unlock') {
    // Ranges are locked as they can be used.
    const mayLock = wanted.whole || (wanted.type === 'read' ? handle.mayRead : handle.mayWrite);
    if (!mayLock) throw FsError.of('EBADF');
  }
  if (wanted.type === 'unlock') {
    const isAll = !wanted.whole && wanted.start === 0 && wanted.end === Number.POSITIVE_INFINITY;
    if (isAll) session.owners.givesBackRanges(handle, owner);
    return answerWith(tree.setLock(handle.file, wanted, wait), session, request, answerDone);
  }
  const holder = session.owners.willLock(owner, handle, wanted.whole);
  const taken = tree.setLock(handle.file, { ...wanted, owner: holder }, wait);
  const waited = taken instanceof Promise ? session.owners.waiting(owner, taken) : taken;
  return answerWith(waited, session, request, answerDone);
}
