import type { Entry, RenameRule } from './file-tree.ts';
import { answerDone, answerWith, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { FsError } from './spec-errno.ts';
import { fileType, renameFlag } from './spec-fuse.ts';
import {
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_rename_in,
  fuse_rename2_in,
} from './spec-fuse-structs.ts';
import { encodeName } from './spec-names.ts';

const answerEntry = (session: Session, request: FuseRequest, entry: Entry<object>): void =>
  session.sendEntry(request, entry);

function answerLookup(session: Session, request: FuseRequest, entry: Entry<object> | undefined): void {
  if (entry === undefined) session.sendAbsent(request);
  else session.sendEntry(request, entry);
}

export const lookup: Handler = (session, request) => {
  const directory = session.node(request);
  const name = session.input.name();
  return answerWith(session.tree.lookup(directory, name, request), session, request, answerLookup);
};

const mknod = fuse_mknod_in.field;

export const makeNode: Handler = (session, request) => {
  const { input, tree } = session;
  const directory = session.node(request);
  const mode = mknod.mode.get(input.view, bodyAt);
  const rdev = mknod.rdev.get(input.view, bodyAt);
  const name = input.name();
  const kind = mode & fileType.MASK;
  // Without a type it is a regular file, as mknod has it.
  if (kind === fileType.DIRECTORY || kind === fileType.SYMLINK) throw FsError.of('EINVAL');
  const typed = kind === 0 ? mode | fileType.REGULAR : mode;
  const made = tree.makeNode?.(directory, name, typed & 0xffff, rdev, request) ?? missing('EPERM');
  return answerWith(made, session, request, answerEntry);
};

const mkdir = fuse_mkdir_in.field;

export const makeDirectory: Handler = (session, request) => {
  const { input, tree } = session;
  const directory = session.node(request);
  const mode = mkdir.mode.get(input.view, bodyAt) & 0o7777;
  const made = tree.makeDirectory?.(directory, input.name(), mode, request) ?? missing('EPERM');
  return answerWith(made, session, request, answerEntry);
};

export const symlink: Handler = (session, request) => {
  const { input, tree } = session;
  const directory = session.node(request);
  const name = input.name();
  const made = tree.symlink?.(directory, name, input.text(), request) ?? missing('EPERM');
  return answerWith(made, session, request, answerEntry);
};

export const readLink: Handler = (session, request) => {
  const target = session.tree.readLink?.(session.node(request)) ?? missing('EINVAL');
  return answerWith(target, session, request, answerTarget);
};

function answerTarget(session: Session, request: FuseRequest, target: string): void {
  session.sendData(request, encodeName(target));
}

export const link: Handler = (session, request) => {
  const { input, tree } = session;
  const directory = session.node(request);
  const node = session.otherNode(request, fuse_link_in.field.oldnodeid.get(input.view, bodyAt));
  const made = tree.link?.(node, directory, input.name(), request) ?? missing('EPERM');
  return answerWith(made, session, request, answerEntry);
};

export const unlink: Handler = (session, request) => {
  const { input, tree } = session;
  if (tree.unlink === undefined) return missing('EPERM');
  const directory = session.node(request);
  return answerWith(tree.unlink(directory, input.name(), request), session, request, answerDone);
};

export const removeDirectory: Handler = (session, request) => {
  const { input, tree } = session;
  if (tree.removeDirectory === undefined) return missing('EPERM');
  const directory = session.node(request);
  return answerWith(tree.removeDirectory(directory, input.name(), request), session, request, answerDone);
};

const plainly: RenameRule = { exchange: false, noreplace: false, whiteout: false };

export const rename: Handler = (session, request) => {
  const newdir = fuse_rename_in.field.newdir.get(session.input.view, bodyAt);
  return move(session, request, newdir, plainly);
};

export const rename2: Handler = (session, request) => {
  const { view } = session.input;
  const { newdir, flags } = fuse_rename2_in.field;
  const given = flags.get(view, bodyAt);
  const rule = {
    exchange: (given & renameFlag.EXCHANGE) !== 0,
    noreplace: (given & renameFlag.NOREPLACE) !== 0,
    whiteout: (given & renameFlag.WHITEOUT) !== 0,
  };
  const { NOREPLACE, EXCHANGE, WHITEOUT } = renameFlag;
  const isUnknown = (given & ~(NOREPLACE | EXCHANGE | WHITEOUT)) !== 0;
  if (isUnknown || (rule.exchange && (rule.noreplace || rule.whiteout))) throw FsError.of('EINVAL');
  return move(session, request, newdir.get(view, bodyAt), rule);
};

function move(session: Session, request: FuseRequest, newdir: number, rule: RenameRule) {
  const { input, tree } = session;
  if (tree.rename === undefined) return missing('EPERM');
  const from = session.node(request);
  const to = session.otherNode(request, newdir);
  const name = input.name();
  const moved = tree.rename(from, name, to, input.name(), rule, request);
  return answerWith(moved, session, request, answerDone);
}
