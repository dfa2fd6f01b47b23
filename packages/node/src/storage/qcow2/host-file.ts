import { HostError } from 'virtio/errors';
import { wasCut } from '../failures.ts';
import type { RawFile } from '../raw-file.ts';

/** The file that an image is in. What lies beyond its end reads as 0: a cluster need not be written whole. */
export class HostFile {
  readonly raw: RawFile;
  readonly path: string;
  /** Bytes that are taken; the file may be shorter until `settle`. */
  end: number;
  /** How the image contradicts itself, where that was seen: it is not written any more. */
  damage: HostError | undefined;
  /** Bytes that the file has for sure. */
  #length: number;

  constructor(raw: RawFile) {
    this.raw = raw;
    this.path = raw.path;
    this.end = raw.stats.size;
    this.#length = raw.stats.size;
  }

  read(offset: number, target: Uint8Array): void {
    const done = offset < this.#length ? this.raw.read(offset, target) : 0;
    // Bytes that were there are not 0 because somebody cut them off.
    if (done < Math.min(this.#length - offset, target.length)) throw this.#cut(offset + done);
    if (done < target.length) target.fill(0, done);
  }

  write(offset: number, source: Uint8Array): void {
    // Before, not after: a write that fails may have left a part of it there.
    this.end = Math.max(this.end, offset + source.length);
    this.raw.write(offset, source);
    this.#length = Math.max(this.#length, offset + source.length);
  }

  /** Says that a range is taken; true when it lies behind all that was, and so reads as 0. */
  reserve(offset: number, length: number): boolean {
    const isNew = offset >= this.end;
    this.end = Math.max(this.end, offset + length);
    return isNew;
  }

  /** Makes the file as long as what is taken of it. */
  settle(): void {
    if (this.#length >= this.end) return;
    this.raw.truncate(this.end);
    this.#length = this.end;
  }

  /** It is not written any more either: what is left may contradict itself. */
  #cut(end: number): HostError {
    this.damage ??= wasCut(this.path, end);
    return this.damage;
  }

  /** The image contradicts itself, says this error, and is taken for damaged from here on. */
  corrupt(what: string): HostError {
    const hint = '`qemu-img check -r all` may repair it';
    this.damage ??= new HostError('BAD_IMAGE', `${this.path} is damaged: ${what}; ${hint}`);
    return this.damage;
  }
}
