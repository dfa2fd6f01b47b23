import { PeerError } from '../../errors.ts';
import { type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { answerAt } from './output.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { FsError } from './spec-errno.ts';
import { fuseVersion, type InitFlagName, initFlag, initWord, oldestMinor } from './spec-fuse.ts';
import {
  fuse_batch_forget_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_init_in,
  fuse_init_out,
  fuse_interrupt_in,
} from './spec-fuse-structs.ts';

const pageSize = 4096;

/** Requests that wait in the background, and how many make the guest hold back: enough to keep several queues busy. */
const mostInBackground = 64;
const congestedFrom = 48;

/** What is agreed to whenever the driver can. */
const always: readonly InitFlagName[] = [
  'ASYNC_READ',
  'ATOMIC_O_TRUNC',
  'BIG_WRITES',
  'ASYNC_DIO',
  'PARALLEL_DIROPS',
  'MAX_PAGES',
  'SUBMOUNTS',
  'SETXATTR_EXT',
  'INIT_EXT',
  'HAS_EXPIRE_ONLY',
  'DIRECT_IO_ALLOW_MMAP',
  'NO_EXPORT_SUPPORT',
];

/** What the tree can do and allows. */
function wishes({ tree, cache, mappings }: Session): InitFlagName[] {
  const lists = cache.listAttributes ?? 'auto';
  return [
    ...always,
    ...(tree.setLock === undefined ? [] : (['POSIX_LOCKS', 'FLOCK_LOCKS'] as const)),
    ...(lists === 'never' ? [] : (['DO_READDIRPLUS'] as const)),
    ...(lists === 'auto' ? (['READDIRPLUS_AUTO'] as const) : []),
    ...(cache.writeback === true && tree.readOnly !== true ? (['WRITEBACK_CACHE'] as const) : []),
    ...((cache.data ?? 'drop') === 'drop' ? (['AUTO_INVAL_DATA'] as const) : []),
    ...(cache.symlinks === true ? (['CACHE_SYMLINKS'] as const) : []),
    ...(mappings !== undefined && mappings.window.attached !== false
      ? (['MAP_ALIGNMENT', 'HAS_INODE_DAX'] as const)
      : []),
    ...(tree.killsPrivileges === true ? (['HANDLE_KILLPRIV_V2'] as const) : []),
  ];
}

/**
 * Begins a session, and ends the one before.
 */
export const init: Handler = (session, request) => {
  const { view } = session.input;
  const { major, minor, max_readahead, flags, flags2 } = fuse_init_in.field;
  const theirMajor = major.get(view, bodyAt);
  if (theirMajor > fuseVersion.major) {
    // They are to try again with ours.
    sendInit(session, request, { minor: fuseVersion.minor });
    return;
  }
  session.minor = Math.min(minor.get(view, bodyAt), fuseVersion.minor);
  if (theirMajor < fuseVersion.major || session.minor < oldestMinor) throw FsError.of('EPROTO');
  const low = flags.get(view, bodyAt);
  const isLong = request.length >= bodyAt + fuse_init_in.size && hasBit(low, initFlag.INIT_EXT);
  const high = isLong ? flags2.get(view, bodyAt) : 0;
  const agreed = wishes(session)
    .map((name) => initFlag[name])
    .filter((bit) => (bit < 32 ? hasBit(low, bit) : hasBit(high, bit - 32)));
  session.flags = new Set(agreed);
  session.begun = true;
  sendInit(session, request, {
    minor: session.minor,
    max_readahead: max_readahead.get(view, bodyAt),
    flags: initWord(agreed, 0),
    flags2: initWord(agreed, 32),
    max_background: mostInBackground,
    congestion_threshold: congestedFrom,
    max_write: session.mostData,
    time_gran: 1,
    map_alignment: session.has('MAP_ALIGNMENT') ? Math.log2(session.mappings?.window.alignment ?? 1) : 0,
    max_pages: Math.min(session.mostData / pageSize, 0xffff),
  });
};

type InitAnswer = Partial<ReturnType<typeof fuse_init_out.read>>;

function sendInit(session: Session, request: FuseRequest, answer: InitAnswer): void {
  session.output.bytes.fill(0, answerAt);
  fuse_init_out.write(session.output.view, answerAt, { major: fuseVersion.major, ...answer });
  session.send(request, fuse_init_out.size);
}

const hasBit = (value: number, bit: number): boolean => ((value >>> bit) & 1) === 1;

export const destroy: Handler = (session, request) => {
  session.done(request);
  session.end();
};

export const forget: Handler = (session, request) => {
  session.nodes.forget(request.nodeid, fuse_forget_in.field.nlookup.get(session.input.view, bodyAt));
};

/** Forgets many at once, as many as the driver says or gives. */
export const forgetMany: Handler = (session, request) => {
  const { input, nodes } = session;
  const { nodeid, nlookup } = fuse_forget_one.field;
  let left = fuse_batch_forget_in.field.count.get(input.view, bodyAt);
  for (; left > 0; left--) {
    if (input.left < fuse_forget_one.size && !input.refill(request)) break;
    if (input.left < fuse_forget_one.size) break;
    nodes.forget(nodeid.get(input.view, input.at), nlookup.get(input.view, input.at));
    input.at += fuse_forget_one.size;
  }
};

/** How many interruptions are remembered whose requests have not come: most of them were answered already. */
const mostEarly = 256;

/** A request that waits is to give up; so is one that is still to come. What does not wait is answered all the sooner. */
export const interrupt: Handler = ({ input, waiting, early }) => {
  const unique = fuse_interrupt_in.field.unique.get(input.view, bodyAt);
  const giveUp = waiting.get(unique);
  if (giveUp !== undefined) {
    giveUp();
    return;
  }
  early.add(unique);
  if (early.size <= mostEarly) return;
  // The first in a set is the oldest.
  for (const oldest of early) {
    early.delete(oldest);
    return;
  }
};

/** What makes a guest stop asking: no control of the device behind a file, no wake-up, no block of a disk. */
export const unsupported: Handler = () => missing('ENOSYS');

/** Nothing is retrieved from the guest, so it has nothing to reply to. */
export const unexpected: Handler = () => {
  throw new PeerError('BAD_REQUEST', 'a NOTIFY_REPLY came, and nothing was asked for');
};
