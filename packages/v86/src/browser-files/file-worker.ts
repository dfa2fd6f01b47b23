import type { FileContent } from './content.ts';

/** What is asked of the worker; `file` is a number that it gave to an open one. */
type Order =
  | { readonly what: 'open'; readonly handle: FileSystemFileHandle }
  | { readonly what: 'read'; readonly file: number; readonly offset: number; readonly length: number }
  | { readonly what: 'write'; readonly file: number; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly what: 'truncate'; readonly file: number; readonly size: number }
  | { readonly what: 'flush' | 'close'; readonly file: number };

interface Answer {
  readonly id: number;
  readonly file?: number;
  readonly size?: number;
  readonly bytes?: Uint8Array<ArrayBuffer>;
  readonly error?: { readonly name: string; readonly message: string };
}

/** What a worker has of an open file; the declarations of pages do not have it. */
interface SyncAccessHandle {
  read(target: Uint8Array, options: { readonly at: number }): number;
  write(source: Uint8Array, options: { readonly at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

interface WorkerScope {
  onmessage: (event: { readonly data: Order & { readonly id: number } }) => void;
  postMessage(answer: Answer, options: { readonly transfer: readonly ArrayBuffer[] }): void;
}

/** All that runs in the worker, which gets it as a text: it may name nothing outside of itself. */
function work(): void {
  // A worker's global object is what its type says; this file is compiled with that of pages.
  const scope = globalThis as unknown as WorkerScope;
  const files = new Map<number, SyncAccessHandle>();
  let next = 1;
  const done = async (order: Order): Promise<Omit<Answer, 'id'>> => {
    if (order.what === 'open') {
      // Workers have this function.
      const handle = order.handle as unknown as { createSyncAccessHandle(): Promise<SyncAccessHandle> };
      const opened = await handle.createSyncAccessHandle();
      files.set(next, opened);
      return { file: next++, size: opened.getSize() };
    }
    const file = files.get(order.file);
    if (file === undefined) throw new Error('this file is not open');
    switch (order.what) {
      case 'read': {
        const bytes = new Uint8Array(order.length);
        return { bytes: bytes.subarray(0, file.read(bytes, { at: order.offset })) };
      }
      case 'write': {
        const count = file.write(order.bytes, { at: order.offset });
        // A file that has grown beyond what the browser grants is cut short without a word.
        if (count < order.bytes.length) throw new DOMException('the disk is full', 'QuotaExceededError');
        return {};
      }
      case 'truncate':
        file.truncate(order.size);
        return {};
      case 'flush':
        file.flush();
        return {};
      case 'close':
        files.delete(order.file);
        file.close();
        return {};
    }
  };
  scope.onmessage = ({ data }) => {
    done(data).then(
      (answer) => {
        const transfer = answer.bytes === undefined ? [] : [answer.bytes.buffer];
        scope.postMessage({ id: data.id, ...answer }, { transfer });
      },
      (error: Error) => {
        scope.postMessage(
          { id: data.id, error: { name: error.name, message: error.message } },
          { transfer: [] },
        );
      },
    );
  };
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A worker that reads and writes files in place, as only workers can (`createSyncAccessHandle`), and only in the browser's
 * private file system.
 */
export class FileWorker {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #hasEnded = false;

  /** @throws whatever the browser says where a page may have no worker of its own text. */
  constructor() {
    const url = URL.createObjectURL(new Blob([`(${work})()`], { type: 'text/javascript' }));
    try {
      this.#worker = new Worker(url);
    } finally {
      URL.revokeObjectURL(url);
    }
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data);
      else waiting?.reject(new DOMException(data.error.message, data.error.name));
    };
    this.#worker.onerror = () => this.close();
  }

  /** Opens a file; nobody else can write to it until it is closed. */
  async open(handle: FileSystemFileHandle): Promise<FileContent> {
    const { file = 0, size = 0 } = await this.#ask({ what: 'open', handle });
    return new WorkerContent((order, transfer) => this.#ask(order, transfer), file, size);
  }

  /** Ends the worker: what is open is as if it were closed, what is asked for fails. */
  close(): void {
    this.#hasEnded = true;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(ended());
    this.#waiting.clear();
  }

  #ask(order: Order, transfer: ArrayBuffer[] = []): Promise<Answer> {
    if (this.#hasEnded) return Promise.reject(ended());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...order }, transfer);
    });
  }
}

const ended = (): DOMException => new DOMException('the worker for files has ended', 'InvalidStateError');

type Ask = (order: Order, transfer?: ArrayBuffer[]) => Promise<Answer>;

class WorkerContent implements FileContent {
  readonly #ask: Ask;
  readonly #file: number;
  #size: number;

  constructor(ask: Ask, file: number, size: number) {
    this.#ask = ask;
    this.#file = file;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  async read(offset: number, target: Uint8Array): Promise<number> {
    const { bytes } = await this.#ask({ what: 'read', file: this.#file, offset, length: target.length });
    if (bytes === undefined) return 0;
    target.set(bytes);
    return bytes.length;
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    // The buffer goes to the worker, so it is a copy.
    const bytes = source.slice();
    await this.#ask({ what: 'write', file: this.#file, offset, bytes }, [bytes.buffer]);
    this.#size = Math.max(this.#size, offset + source.length);
  }

  async setSize(size: number): Promise<void> {
    await this.#ask({ what: 'truncate', file: this.#file, size });
    this.#size = size;
  }

  async settle(): Promise<void> {}

  async flush(): Promise<void> {
    await this.#ask({ what: 'flush', file: this.#file });
  }

  async close(): Promise<void> {
    await this.#ask({ what: 'close', file: this.#file });
  }
}
