import { after, type Eventually, eachInTurn } from '../../device/eventually.ts';
import { closeHandle } from './file-requests.ts';
import type { Entry, OpenFile } from './file-tree.ts';
import { answerDone, answerWith, bounded, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { Listing } from './listing.ts';
import { answerAt } from './output.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { FsError } from './spec-errno.ts';
import { fsyncFlag, openFlag } from './spec-fuse.ts';
import { fuse_fsync_in, fuse_read_in, fuse_release_in } from './spec-fuse-structs.ts';

const answerOpenDirectory = (session: Session, request: FuseRequest, file: OpenFile): void =>
  session.sendOpen(request, file, true);

export const openDirectory: Handler = (session, request) => {
  const node = session.node(request);
  session.checkHandles();
  request.detail = openFlag.RDONLY;
  return answerWith(session.tree.openDirectory(node, request), session, request, answerOpenDirectory);
};

export const releaseDirectory: Handler = (session, request) => {
  const fh = fuse_release_in.field.fh.get(session.input.view, bodyAt);
  closeHandle(session, request, session.directoryHandle(request, fh));
};

export const syncDirectory: Handler = (session, request) => {
  const { input, tree } = session;
  const { fh, fsync_flags } = fuse_fsync_in.field;
  const handle = session.directoryHandle(request, fh.get(input.view, bodyAt));
  const dataOnly = (fsync_flags.get(input.view, bodyAt) & fsyncFlag.FDATASYNC) !== 0;
  if (tree.syncDirectory === undefined) return missing();
  return answerWith(tree.syncDirectory(handle.file, dataOnly), session, request, answerDone);
};

export const readDirectory: Handler = (session, request) => list(session, request, false);

export const readDirectoryPlus: Handler = (session, request) => list(session, request, true);

/** Listings that are not in use: one for each that was ever under way at once. */
const spare: Listing[] = [];

function list(session: Session, request: FuseRequest, withAttributes: boolean): Eventually<void> {
  const { input, tree } = session;
  const { fh, offset, size } = fuse_read_in.field;
  const handle = session.directoryHandle(request, fh.get(input.view, bodyAt));
  const from = bounded(offset.get(input.view, bodyAt));
  const room = size.get(input.view, bodyAt);
  const given = (request.chain?.writable.length ?? 0) - answerAt;
  if (room > session.mostData || room > given) throw FsError.of('EINVAL');
  const node = session.node(request);
  const listing = spare.pop() ?? new Listing();
  listing.begin(session, room, withAttributes);
  const listed = tree.readDirectory(handle.file, from, listing);
  if (listed instanceof Promise) {
    return listed
      .then(() => (withAttributes ? lookUpAll(session, request, node, listing) : undefined))
      .then(() => answerListing(session, request, listing));
  }
  if (!withAttributes) {
    answerListing(session, request, listing);
    return;
  }
  const found = lookUpAll(session, request, node, listing);
  if (found instanceof Promise) return found.then(() => answerListing(session, request, listing));
  answerListing(session, request, listing);
}

function answerListing(session: Session, request: FuseRequest, listing: Listing): void {
  session.sendBytes(request, listing.bytes.subarray(0, listing.length));
  if (spare.length < 4) spare.push(listing);
}

/** Finds every entry, as if it had been looked up; one that is gone meanwhile stays a name alone. */
function lookUpAll(session: Session, request: FuseRequest, node: object, listing: Listing): Eventually<void> {
  const { names } = listing;
  for (let index = 0; index < names.length; index++) {
    const pending = lookUp(session, request, node, listing, index);
    if (pending instanceof Promise) {
      const rest = names.map((_, other) => other).slice(index + 1);
      return pending.then(() => eachInTurn(rest, (other) => lookUp(session, request, node, listing, other)));
    }
  }
}

function lookUp(
  session: Session,
  request: FuseRequest,
  node: object,
  listing: Listing,
  index: number,
): Eventually<void> {
  const name = listing.names[index] ?? '';
  // These two are never looked up: the guest knows what they are.
  if (name === '.' || name === '..') return;
  let found: Eventually<Entry<object> | undefined>;
  try {
    found = session.tree.lookup(node, name, request);
  } catch (error) {
    session.errnoOf(error);
    return;
  }
  if (!(found instanceof Promise)) {
    tell(session, request, listing, index, found);
    return;
  }
  return after(
    found.catch((error: unknown): undefined => void session.errnoOf(error)),
    (entry) => tell(session, request, listing, index, entry),
  );
}

function tell(
  session: Session,
  request: FuseRequest,
  listing: Listing,
  index: number,
  entry: Entry<object> | undefined,
): void {
  if (entry === undefined) return;
  const known = session.tryTell(request, entry);
  if (known !== undefined) listing.describe(index, known.id, entry);
}
