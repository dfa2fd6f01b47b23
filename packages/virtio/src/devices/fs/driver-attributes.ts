import type { StructValue } from '../../spec/layout.ts';
import type { AttributeChanges, FileTime } from './spec-attributes.ts';
import { setattrValid } from './spec-fuse.ts';
import type { fuse_setattr_in } from './spec-fuse-structs.ts';

/** The fields of a SETATTR that make these changes, of a file that is open where `handle` tells its number. */
export function changedFields(
  changes: AttributeChanges,
  handle?: number,
): Partial<StructValue<typeof fuse_setattr_in.codecs>> {
  const { MODE, UID, GID, SIZE, FH, KILL_SUIDGID } = setattrValid;
  const { mode, uid, gid, size } = changes;
  const valid =
    (mode === undefined ? 0 : MODE) |
    (uid === undefined ? 0 : UID) |
    (gid === undefined ? 0 : GID) |
    (size === undefined ? 0 : SIZE) |
    (handle === undefined ? 0 : FH) |
    (changes.killPrivileges === true ? KILL_SUIDGID : 0) |
    bitsOf(changes.atime, setattrValid.ATIME, setattrValid.ATIME_NOW) |
    bitsOf(changes.mtime, setattrValid.MTIME, setattrValid.MTIME_NOW) |
    bitsOf(changes.ctime, setattrValid.CTIME, 0);
  const [atime, atimensec] = numbersOf(changes.atime);
  const [mtime, mtimensec] = numbersOf(changes.mtime);
  const [ctime, ctimensec] = numbersOf(changes.ctime);
  return {
    ...{ valid, fh: handle ?? 0, size: size ?? 0, mode: mode ?? 0, uid: uid ?? 0, gid: gid ?? 0 },
    ...{ atime, atimensec, mtime, mtimensec, ctime, ctimensec },
  };
}

const bitsOf = (time: FileTime | undefined, bit: number, now: number): number =>
  time === undefined ? 0 : time === 'now' ? bit | now : bit;

const numbersOf = (time: FileTime | undefined): readonly [number, number] =>
  time === undefined || time === 'now' ? [0, 0] : [time.seconds, time.nanoseconds];
