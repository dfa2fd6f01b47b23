import { closeSync, openSync, writeSync } from 'node:fs';
import { HostError } from 'virtio/errors';

const bufferLength = 1 << 16;

/**
 * A file that is written piece by piece. Pieces are gathered and written in place, so that the machine waits for a slow disk
 * or pipe instead of filling memory.
 */
export class GatheredFile {
  readonly #file: number;
  /** What it is, and where, for people. */
  readonly #name: string;
  #pieces: (string | Uint8Array)[] = [];
  #length = 0;
  #error: HostError | undefined;

  /**
   * @param what it is called in messages, such as `trace`
   * @throws {HostError} IO_ERROR when the file cannot be made.
   */
  constructor(path: string, what: string) {
    this.#name = `the ${what} ${path}`;
    try {
      this.#file = openSync(path, 'w');
    } catch (cause) {
      throw new HostError('IO_ERROR', `cannot write ${this.#name}`, { cause });
    }
    // However the process ends, what was seen until then is in the file.
    process.on('exit', this.#flush);
  }

  /** Why it ended early, if it did: whoever gives it pieces is not to be disturbed. */
  get error(): HostError | undefined {
    return this.#error;
  }

  /** Takes the next piece; bytes are the file's from then on. */
  readonly write = (piece: string | Uint8Array): void => {
    if (this.#error !== undefined) return;
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length >= bufferLength) this.#flush();
  };

  /** Writes what is left and closes the file. */
  close(): void {
    process.off('exit', this.#flush);
    this.#flush();
    closeSync(this.#file);
  }

  readonly #flush = (): void => {
    const bytes = Buffer.concat(
      this.#pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)),
    );
    this.#pieces = [];
    this.#length = 0;
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
    } catch (cause) {
      this.#error ??= new HostError('IO_ERROR', `cannot write ${this.#name}`, { cause });
    }
  };
}
