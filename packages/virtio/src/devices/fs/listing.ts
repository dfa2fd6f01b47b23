import type { DirectorySink, Entry } from './file-tree.ts';
import type { Session } from './session.ts';
import { writeEntry } from './spec-attribute-structs.ts';
import { fuse_dirent, fuse_entry_out } from './spec-fuse-structs.ts';
import { encodeNameInto, roomForName } from './spec-names.ts';

const { ino, off, namelen, type } = fuse_dirent.field;
const nameAt = fuse_dirent.size;

/** The first multiple of 8 that is not below. */
const aligned = (length: number): number => (length + 7) & ~7;

/**
 * Takes the entries of a directory, as many as the guest has room for, already as the guest reads them. With attributes
 * each stands behind room for what is looked up afterwards. They are used again and again.
 */
export class Listing implements DirectorySink {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(4096);
  #view: DataView = new DataView(this.bytes.buffer);
  /** Bytes that are filled. */
  length = 0;
  readonly names: string[] = [];
  /** Where each entry begins. */
  readonly starts: number[] = [];
  #room = 0;
  #withAttributes = false;
  #full = false;
  #session: Session | undefined;

  /** Begins a listing of at most `room` bytes. */
  begin(session: Session, room: number, withAttributes: boolean): void {
    this.#session = session;
    this.#room = room;
    this.#withAttributes = withAttributes;
    this.#full = false;
    this.length = 0;
    this.names.length = 0;
    this.starts.length = 0;
    this.#view = session.viewOf(this.bytes);
  }

  add(name: string, inode: number, kind: number, next: number): boolean {
    if (this.#full || this.#session === undefined) return false;
    const start = this.length;
    const at = start + (this.#withAttributes ? fuse_entry_out.size : 0);
    this.#make(at + nameAt + roomForName(name) + 8);
    const end = encodeNameInto(name, this.bytes, at + nameAt);
    const behind = start + aligned(end - start);
    if (behind > this.#room) {
      this.#full = true;
      return false;
    }
    const view = this.#view;
    if (this.#withAttributes) this.bytes.fill(0, start, at);
    ino.set(view, at, inode);
    off.set(view, at, next);
    namelen.set(view, at, end - at - nameAt);
    type.set(view, at, kind);
    this.bytes.fill(0, end, behind);
    this.names.push(name);
    this.starts.push(start);
    this.length = behind;
    return true;
  }

  /** The session tells the guest of an entry: it will know the file by this number. */
  describe(index: number, id: number, entry: Entry<object>): void {
    const session = this.#session;
    if (session === undefined) return;
    const { entryLifetime, attributeLifetime, marksFiles } = session;
    writeEntry(
      this.#view,
      this.starts[index] ?? 0,
      id,
      entry.attributes,
      entryLifetime,
      attributeLifetime,
      marksFiles,
    );
  }

  #make(length: number): void {
    if (length <= this.bytes.length || this.#session === undefined) return;
    const larger = new Uint8Array(Math.max(2 * this.bytes.length, length));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
    this.#view = this.#session.viewOf(larger);
  }
}
