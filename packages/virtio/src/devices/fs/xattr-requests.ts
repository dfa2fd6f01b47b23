import { answerDone, answerWith, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { answerAt } from './output.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { FsError } from './spec-errno.ts';
import { longestName, longestXattr, setxattrFlag, xattrFlag } from './spec-fuse.ts';
import { fuse_getxattr_in, fuse_getxattr_out, fuse_setxattr_in } from './spec-fuse-structs.ts';
import { encodeName } from './spec-names.ts';

const size = fuse_getxattr_in.field.size;

export const getXattr: Handler = (session, request) => {
  const { input, tree } = session;
  const node = session.node(request);
  if (tree.getXattr === undefined) return missing();
  request.detail = size.get(input.view, bodyAt);
  return answerWith(tree.getXattr(node, xattrName(session)), session, request, answerValue);
};

function answerValue(session: Session, request: FuseRequest, value: Uint8Array | undefined): void {
  if (value === undefined) throw FsError.of('ENODATA');
  sendSized(session, request, value);
}

export const listXattrs: Handler = (session, request) => {
  const { input, tree } = session;
  const node = session.node(request);
  if (tree.listXattrs === undefined) return missing();
  request.detail = size.get(input.view, bodyAt);
  return answerWith(tree.listXattrs(node), session, request, answerNames);
};

function answerNames(session: Session, request: FuseRequest, names: readonly string[]): void {
  sendSized(session, request, encodeName(names.map((name) => `${name}\0`).join('')));
}

/** A guest that gives no room asks how much is needed. */
function sendSized(session: Session, request: FuseRequest, value: Uint8Array): void {
  if (request.detail > 0) {
    if (value.length > request.detail) throw FsError.of('ERANGE');
    session.sendData(request, value);
    return;
  }
  const { chain } = request;
  if (chain?.live === true && chain.writable.length < answerAt + fuse_getxattr_out.size) {
    throw FsError.of('EINVAL');
  }
  const { view } = session.output;
  fuse_getxattr_out.field.size.set(view, answerAt, value.length);
  fuse_getxattr_out.field.padding.set(view, answerAt, 0);
  session.send(request, fuse_getxattr_out.size);
}

const shortSetxattr = 8;

export const setXattr: Handler = (session, request) => {
  const { input, tree } = session;
  const node = session.node(request);
  if (tree.setXattr === undefined) return missing();
  const isLong = session.has('SETXATTR_EXT');
  const given = fuse_setxattr_in.read(input.view, bodyAt);
  if (!isLong) input.at = bodyAt + shortSetxattr;
  const name = xattrName(session);
  if (given.size > longestXattr) throw FsError.of('E2BIG');
  const value = input.copy(given.size);
  const create = (given.flags & xattrFlag.CREATE) !== 0;
  const replace = (given.flags & xattrFlag.REPLACE) !== 0;
  if (given.flags > 3 || (create && replace)) throw FsError.of('EINVAL');
  const killGroup = isLong && (given.setxattr_flags & setxattrFlag.ACL_KILL_SGID) !== 0;
  const how = { create, replace, killGroup };
  return answerWith(tree.setXattr(node, name, value, how, request), session, request, answerDone);
};

export const removeXattr: Handler = (session, request) => {
  const { tree } = session;
  const node = session.node(request);
  if (tree.removeXattr === undefined) return missing();
  return answerWith(tree.removeXattr(node, xattrName(session), request), session, request, answerDone);
};

/** @throws {FsError} ERANGE for one that no file system takes. */
function xattrName({ input }: Session): string {
  const from = input.at;
  const name = input.text();
  if (input.at - 1 - from > longestName) throw FsError.of('ERANGE');
  return name;
}
