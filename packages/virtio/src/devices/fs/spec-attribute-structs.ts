import type { Attributes } from './spec-attributes.ts';
import { attrFlag, fileType, statxMask } from './spec-fuse.ts';
import { fuse_attr, fuse_entry_out, fuse_statx } from './spec-fuse-structs.ts';

const { ino, size, blocks, atime, mtime, ctime, atimensec, mtimensec, ctimensec } = fuse_attr.field;
const { mode, nlink, uid, gid, rdev, blksize, flags } = fuse_attr.field;

/**
 * Writes `fuse_attr`: field by field, since every LOOKUP and GETATTR passes here. With `marksFiles` the guest is to map what
 * files hold.
 */
export function writeAttributes(
  view: DataView,
  base: number,
  attributes: Attributes,
  marksFiles: boolean,
): void {
  ino.set(view, base, attributes.ino);
  size.set(view, base, attributes.size);
  blocks.set(view, base, attributes.blocks);
  atime.set(view, base, attributes.atime);
  mtime.set(view, base, attributes.mtime);
  ctime.set(view, base, attributes.ctime);
  atimensec.set(view, base, attributes.atimensec);
  mtimensec.set(view, base, attributes.mtimensec);
  ctimensec.set(view, base, attributes.ctimensec);
  mode.set(view, base, attributes.mode);
  nlink.set(view, base, attributes.nlink);
  uid.set(view, base, attributes.uid);
  gid.set(view, base, attributes.gid);
  rdev.set(view, base, attributes.rdev);
  blksize.set(view, base, attributes.blksize);
  const isMarked = marksFiles && (attributes.mode & fileType.MASK) === fileType.REGULAR;
  flags.set(
    view,
    base,
    (attributes.submount === true ? attrFlag.SUBMOUNT : 0) | (isMarked ? attrFlag.DAX : 0),
  );
}

/** Reads `fuse_attr`. */
export function readAttributes(view: DataView, base: number): Attributes {
  return {
    ino: ino.get(view, base),
    mode: mode.get(view, base),
    nlink: nlink.get(view, base),
    uid: uid.get(view, base),
    gid: gid.get(view, base),
    rdev: rdev.get(view, base),
    size: size.get(view, base),
    blocks: blocks.get(view, base),
    blksize: blksize.get(view, base),
    atime: atime.get(view, base),
    atimensec: atimensec.get(view, base),
    mtime: mtime.get(view, base),
    mtimensec: mtimensec.get(view, base),
    ctime: ctime.get(view, base),
    ctimensec: ctimensec.get(view, base),
    submount: (flags.get(view, base) & attrFlag.SUBMOUNT) !== 0,
  };
}

/** Seconds as FUSE has them: whole ones, and nanoseconds. */
export interface Lifetime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export function lifetime(seconds: number): Lifetime {
  const whole = Math.floor(seconds);
  return { seconds: whole, nanoseconds: Math.floor((seconds - whole) * 1e9) };
}

const { nodeid, generation, entry_valid, attr_valid, entry_valid_nsec, attr_valid_nsec } =
  fuse_entry_out.field;
const attrAt = fuse_entry_out.field.attr.offset;

/** Writes `fuse_entry_out`. */
export function writeEntry(
  view: DataView,
  base: number,
  id: number,
  attributes: Attributes,
  entry: Lifetime,
  attribute: Lifetime,
  marksFiles: boolean,
): void {
  nodeid.set(view, base, id);
  generation.set(view, base, 0);
  entry_valid.set(view, base, entry.seconds);
  attr_valid.set(view, base, attribute.seconds);
  entry_valid_nsec.set(view, base, entry.nanoseconds);
  attr_valid_nsec.set(view, base, attribute.nanoseconds);
  writeAttributes(view, base + attrAt, attributes, marksFiles);
}

/** Writes `fuse_statx`: what `fuse_attr` has, and the time of birth where it is known. */
export function writeStatx(view: DataView, base: number, attributes: Attributes): void {
  const { btime } = attributes;
  fuse_statx.write(view, base, {
    mask: statxMask.BASIC_STATS | (btime === undefined ? 0 : statxMask.BTIME),
    blksize: attributes.blksize,
    attributes: 0,
    nlink: attributes.nlink,
    uid: attributes.uid,
    gid: attributes.gid,
    mode: attributes.mode,
    __spare0: 0,
    ino: attributes.ino,
    size: attributes.size,
    blocks: attributes.blocks,
    attributes_mask: 0,
    atime: time(attributes.atime, attributes.atimensec),
    btime: time(btime ?? 0, attributes.btimensec ?? 0),
    ctime: time(attributes.ctime, attributes.ctimensec),
    mtime: time(attributes.mtime, attributes.mtimensec),
    // As Linux splits the 32 bits of a device number in user space.
    rdev_major: (attributes.rdev >>> 8) & 0xfff,
    rdev_minor: (attributes.rdev & 0xff) | ((attributes.rdev >>> 12) & 0xf_ff00),
    dev_major: 0,
    dev_minor: 0,
  });
}

const time = (seconds: number, nanoseconds: number) => ({
  tv_sec: seconds,
  tv_nsec: nanoseconds,
  __reserved: 0,
});
