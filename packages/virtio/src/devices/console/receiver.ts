import type { OpenQueue } from '../../driver/queue.ts';

/** Buffers that each port's receiveq is given, and the bytes in each. */
const bufferCount = 8;
const bufferLength = 16_384;

interface Filled {
  readonly address: number;
  /** A copy: it can be read when the queue is gone, and its memory with it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

type Reader = (bytes: Uint8Array<ArrayBuffer> | undefined, failure?: Error) => void;

/**
 * The buffers of one receiveq. A filled one goes back to the device when somebody has read it, so a program
 * that does not read makes the device wait, and holds no more than these buffers.
 */
export class Receiver {
  readonly #queue: OpenQueue;
  readonly #filled: Filled[] = [];
  readonly #readers: Reader[] = [];
  #end: { readonly failure: Error | undefined } | undefined;

  constructor(queue: OpenQueue) {
    this.#queue = queue;
    const count = Math.min(bufferCount, queue.size);
    for (let i = 0; i < count; i++) this.#offer(queue.allocate(bufferLength));
  }

  /** The next bytes; `undefined` at the end. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const ready = this.#next();
    if (ready !== undefined) return Promise.resolve(ready);
    const end = this.#end;
    if (end !== undefined)
      return end.failure === undefined ? Promise.resolve(undefined) : Promise.reject(end.failure);
    return new Promise((resolve, reject) => {
      this.#readers.push((bytes, failure) => (failure === undefined ? resolve(bytes) : reject(failure)));
    });
  }

  /** No more comes: whoever waits hears it. */
  finish(failure?: Error): void {
    if (this.#end !== undefined) return;
    this.#end = { failure };
    for (const reader of this.#readers.splice(0)) reader(undefined, failure);
  }

  /** A port that was removed has come back: what is left of the old one is forgotten. */
  restart(): void {
    this.finish();
    this.#end = undefined;
    for (const { address } of this.#filled.splice(0)) this.#offer(address);
  }

  #next(): Uint8Array<ArrayBuffer> | undefined {
    const filled = this.#filled.shift();
    if (filled === undefined) return undefined;
    this.#offer(filled.address);
    return filled.bytes;
  }

  #offer(address: number): void {
    if (this.#queue.closed) return;
    this.#queue.submit([], [{ address, length: bufferLength }], (length, failure) => {
      // The queue is gone with its device, and its memory may be written for as long as that is not reset.
      if (failure !== undefined) return;
      if (length === 0) this.#offer(address);
      else this.#arrived({ address, bytes: this.#queue.memory.read(address, length) });
    });
  }

  #arrived(filled: Filled): void {
    this.#filled.push(filled);
    const reader = this.#readers.shift();
    if (reader !== undefined) reader(this.#next());
  }
}
