import { bounded, type Handler, missing } from './handler.ts';
import { bodyAt } from './input.ts';
import { FsError } from './spec-errno.ts';
import { mappingFlag, openFlag } from './spec-fuse.ts';
import { fuse_removemapping_in, fuse_removemapping_one, fuse_setupmapping_in } from './spec-fuse-structs.ts';

/** What stands for no open file: the device finds the file by its node, as it does for Linux. */
const noHandle = 2 ** 64;

/**
 * Shows a range of a file in the window. The file is opened for it, so that the mapping outlives the guest's own open file.
 */
export const setUpMapping: Handler = (session, request) => {
  const { mappings, tree, input } = session;
  if (mappings === undefined || !session.has('MAP_ALIGNMENT')) return missing();
  const node = session.node(request);
  const { fh, foffset, len, flags, moffset } = fuse_setupmapping_in.read(input.view, bodyAt);
  const writable = (flags & mappingFlag.WRITE) !== 0;
  if (writable && tree.readOnly === true) throw FsError.of('EROFS');
  if (fh < noHandle) {
    const handle = session.handle(request, fh);
    if (!handle.mayRead || (writable && !handle.mayWrite)) throw FsError.of('EBADF');
  }
  const wanted = {
    offset: bounded(moffset),
    length: bounded(len),
    from: bounded(foffset),
    writable,
  };
  // The request is the caller to the tree, and may be another one's before it is its turn.
  const caller = { uid: request.uid, gid: request.gid, pid: request.pid };
  const open = () => tree.open(node, writable ? openFlag.RDWR : openFlag.RDONLY, caller);
  return mappings.map(wanted, open).then(() => session.done(request));
};

export const removeMapping: Handler = (session, request) => {
  const { mappings, input } = session;
  if (mappings === undefined || !session.has('MAP_ALIGNMENT')) return missing();
  const count = fuse_removemapping_in.field.count.get(input.view, bodyAt);
  const { size } = fuse_removemapping_one;
  if (count * size > input.left) throw FsError.of('EINVAL');
  const ranges = Array.from({ length: count }, (_, i) => {
    const { moffset, len } = fuse_removemapping_one.read(input.view, input.at + i * size);
    return { offset: bounded(moffset), length: bounded(len) };
  });
  return mappings.unmap(ranges).then(() => session.done(request));
};
