import { type Endian, guestView } from '../../spec/guest-endian.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { FsError } from './spec-errno.ts';
import { longestName, longestPath, longestXattr } from './spec-fuse.ts';
import { fuse_in_header, fuse_write_in } from './spec-fuse-structs.ts';
import { decodeName } from './spec-names.ts';

/** Where the part behind the header begins. */
export const bodyAt: number = fuse_in_header.size;

/** The longest request but for a write's data: an extended attribute's value, with room for its name and structure. */
const mostBytes = longestXattr + 4096;

const slash = 0x2f;
const dot = 0x2e;

/**
 * The request that is being looked at, copied out of the guest's memory so that nothing in it changes any more. There is
 * one for all requests: whatever is needed of it later is taken before anything waits.
 */
export class Input {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(mostBytes);
  /** Numbers in it, in the session's byte order. */
  view: DataView = new DataView(this.bytes.buffer);
  /** Where the next name or byte is read. */
  at = 0;
  /** Behind its last byte. */
  end = 0;
  readonly #header = this.bytes.subarray(0, bodyAt);
  readonly #write = this.bytes.subarray(bodyAt, bodyAt + fuse_write_in.size);
  readonly #body = this.bytes.subarray(bodyAt);

  setEndian(endian: Endian): void {
    this.view = guestView(this.bytes, endian);
  }

  /** Takes the header; false when the guest gave fewer bytes. */
  takeHeader({ readable }: Chain): boolean {
    return readable.readInto(this.#header) === bodyAt;
  }

  /** Takes what is behind it up to the request's length: of a write without its data. */
  takeBody({ readable }: Chain, length: number, isWrite: boolean): void {
    const taken = bodyAt + readable.readInto(isWrite ? this.#write : this.#body);
    this.end = Math.min(taken, length);
  }

  /**
   * Takes more of a request that is longer than all others, into the place of what was read; false when there is no more.
   * A few bytes that were not read stand before them.
   */
  refill({ chain }: { readonly chain: Chain | undefined }): boolean {
    if (chain === undefined) return false;
    const kept = this.left;
    this.bytes.copyWithin(bodyAt, this.at, this.end);
    const taken = chain.readable.readInto(this.bytes.subarray(bodyAt + kept));
    this.at = bodyAt;
    this.end = bodyAt + kept + taken;
    return taken > 0;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.end - this.at;
  }

  /**
   * The next name in a directory: at least one byte, neither `.` nor `..`, without a slash.
   *
   * @throws {FsError} EINVAL, ENAMETOOLONG.
   */
  name(): string {
    const from = this.at;
    const length = this.#stringLength();
    if (length > longestName) throw FsError.of('ENAMETOOLONG');
    const { bytes } = this;
    const isDots = bytes[from] === dot && (length === 1 || (length === 2 && bytes[from + 1] === dot));
    if (length === 0 || isDots) throw FsError.of('EINVAL');
    for (let i = from; i < from + length; i++) if (bytes[i] === slash) throw FsError.of('EINVAL');
    return decodeName(bytes, from, from + length);
  }

  /**
   * The next string: what a link points to, or the name of an attribute.
   *
   * @throws {FsError} EINVAL for none, ENAMETOOLONG.
   */
  text(most: number = longestPath - 1): string {
    const from = this.at;
    const length = this.#stringLength();
    if (length > most) throw FsError.of('ENAMETOOLONG');
    if (length === 0) throw FsError.of('EINVAL');
    return decodeName(this.bytes, from, from + length);
  }

  /**
   * A copy of the next bytes.
   *
   * @throws {FsError} EINVAL when there are fewer.
   */
  copy(length: number): Uint8Array<ArrayBuffer> {
    if (length > this.left) throw FsError.of('EINVAL');
    const from = this.at;
    this.at += length;
    return this.bytes.slice(from, this.at);
  }

  #stringLength(): number {
    const from = this.at;
    const nul = this.bytes.indexOf(0, from);
    if (nul < 0 || nul >= this.end) throw FsError.of('EINVAL');
    this.at = nul + 1;
    return nul - from;
  }
}
