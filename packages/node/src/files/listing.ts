import { type DirectorySink, decodeName } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import { checked } from './failure.ts';

/** Bytes of entries that are read at a time. */
const pieceLength = 32_768;
const SEEK_SET = 0;
/** Of `struct linux_dirent64`. */
const nameAt = 19;

/**
 * The entries of an open directory, by their places: the first is at 0. Linux has numbers of 64 bits for places, which a
 * guest is not given; they are kept for the beginning of each piece, so that a guest that goes back is given the same.
 */
export class Listing {
  readonly #calls: FolderCalls;
  readonly #fd: number;
  readonly #isRoot: boolean;
  readonly #bytes: Buffer = Buffer.alloc(pieceLength);
  readonly #view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, pieceLength);
  /** Of every piece that was read: the place of its first entry, and Linux's own for it. */
  readonly #pieces: { readonly first: number; readonly start: bigint }[] = [];
  /** The piece that is in `bytes`, if any; where its first entry is; how many bytes it has. */
  #piece = -1;
  #first = 0;
  #length = 0;
  /** Behind the last entry of it, as Linux counts. */
  #next = 0n;
  /** Where in `bytes` the entry at which place is. */
  #at = 0;
  #place = 0;

  /** @param isRoot whether what is above is not to be told of */
  constructor(calls: FolderCalls, fd: number, isRoot: boolean) {
    this.#calls = calls;
    this.#fd = fd;
    this.#isRoot = isRoot;
  }

  /** Gives the entries from a place on, until the sink is full or there are no more. */
  give(place: number, sink: DirectorySink): void {
    if (!this.#goTo(place)) return;
    for (;;) {
      if (this.#at === this.#length && !this.#readNext()) return;
      const start = this.#at;
      const length = this.#view.getUint16(start + 16, true);
      if (!this.#giveOne(start, length, sink)) return;
      this.#at = start + length;
      this.#place++;
    }
  }

  #giveOne(start: number, length: number, sink: DirectorySink): boolean {
    const name = this.#nameIn(start + nameAt, start + length);
    let low = this.#view.getUint32(start, true);
    let high = this.#view.getUint32(start + 4, true) & 0x1f_ffff;
    if (this.#isRoot && name === '..') [low, high] = [1, 0];
    return sink.add(name, high * 2 ** 32 + low, this.#bytes[start + 18]!, this.#place + 1);
  }

  #nameIn(from: number, limit: number): string {
    const bytes = this.#bytes;
    let end = from;
    let all = 0;
    for (; end < limit && bytes[end] !== 0; end++) all |= bytes[end]!;
    return all < 0x80 ? bytes.toString('latin1', from, end) : decodeName(bytes, from, end);
  }

  /** False when there is no such place. */
  #goTo(place: number): boolean {
    if (place === 0) {
      // The directory may have changed since.
      this.#pieces.length = 0;
      this.#piece = -1;
      this.#place = this.#first = this.#at = this.#length = 0;
      this.#next = 0n;
      checked(Number(this.#calls.seek(this.#fd, 0, SEEK_SET)));
      return true;
    }
    if (place === this.#place) return true;
    if (place < this.#first) this.#goToPieceOf(place);
    else if (place < this.#place) [this.#place, this.#at] = [this.#first, 0];
    while (this.#place < place) {
      if (this.#at === this.#length && !this.#readNext()) return false;
      this.#at += this.#view.getUint16(this.#at + 16, true);
      this.#place++;
    }
    return true;
  }

  #goToPieceOf(place: number): void {
    let index = this.#pieces.length - 1;
    while (index > 0 && this.#pieces[index]!.first > place) index--;
    const { first, start } = this.#pieces[index]!;
    checked(Math.min(0, Number(this.#calls.seek(this.#fd, start, SEEK_SET))));
    this.#piece = index - 1;
    this.#place = this.#first = first;
    this.#at = this.#length = 0;
    this.#next = start;
  }

  #readNext(): boolean {
    const count = checked(this.#calls.entries(this.#fd, this.#bytes, pieceLength));
    if (count === 0) return false;
    this.#piece++;
    this.#pieces[this.#piece] = { first: this.#place, start: this.#next };
    this.#first = this.#place;
    this.#length = count;
    this.#at = 0;
    let last = 0;
    for (let at = 0; at < count; at += this.#view.getUint16(at + 16, true)) last = at;
    this.#next = this.#view.getBigInt64(last + 8, true);
    return true;
  }
}
