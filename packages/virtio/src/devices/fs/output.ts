import { type Endian, guestView } from '../../spec/guest-endian.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { fuse_out_header, fuse_statx_out } from './spec-fuse-structs.ts';

/** Where the part of an answer behind its header begins. */
export const answerAt: number = fuse_out_header.size;

const { len, error } = fuse_out_header.field;
const uniqueAt = fuse_out_header.field.unique.offset;

/** Where answers are put together before they are copied out; of what has no fixed size, the header alone. */
export class Output {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(answerAt + fuse_statx_out.size);
  view: DataView = new DataView(this.bytes.buffer);
  /** Of each length that was needed, so that an answer costs no object. */
  readonly #windows: (Uint8Array | undefined)[] = [];

  setEndian(endian: Endian): void {
    this.view = guestView(this.bytes, endian);
  }

  /** Sends `length` bytes that stand in `bytes` behind the header. */
  send(chain: Chain, unique: Uint8Array, length: number): void {
    this.#header(unique, answerAt + length, 0);
    chain.writable.write(this.#window(answerAt + length));
  }

  /** Sends the header alone: no error, or a negated one. */
  sendError(chain: Chain, unique: Uint8Array, number: number): void {
    this.#header(unique, answerAt, number);
    chain.writable.seek(0);
    chain.writable.write(this.#window(answerAt));
    // What was put behind it before the error came up is none of the answer.
    chain.written = answerAt;
  }

  /** Sends the header before `length` bytes that stand in the guest's memory already. */
  sendBefore(chain: Chain, unique: Uint8Array, length: number): void {
    this.#header(unique, answerAt + length, 0);
    chain.writable.seek(0);
    chain.writable.write(this.#window(answerAt));
    chain.written = answerAt + length;
  }

  /** Sends the header and bytes that stand elsewhere. */
  sendBytes(chain: Chain, unique: Uint8Array, bytes: Uint8Array): void {
    this.#header(unique, answerAt + bytes.length, 0);
    chain.writable.write(this.#window(answerAt));
    chain.writable.write(bytes);
  }

  #header(unique: Uint8Array, length: number, number: number): void {
    len.set(this.view, 0, length);
    error.set(this.view, 0, number);
    for (let i = 0; i < 8; i++) this.bytes[uniqueAt + i] = unique[i]!;
  }

  #window(length: number): Uint8Array {
    let window = this.#windows[length];
    if (window === undefined) {
      window = this.bytes.subarray(0, length);
      this.#windows[length] = window;
    }
    return window;
  }
}
