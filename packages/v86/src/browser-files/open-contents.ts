import { type FileContent, StreamedContent } from './content.ts';
import { nameOf } from './failure.ts';
import { FileWorker } from './file-worker.ts';
import { type BrowserNode, fileOf, folderOf } from './node.ts';
import { goneName } from './stored-names.ts';

/** How often, and how many milliseconds apart, a file is asked for that a page which has just gone still holds. */
const attempts = 40;
const pause = 50;

/**
 * The bytes of a tree's files: open while somebody needs them, and done with one thing after the other (`turn` of a node). What
 * a change of names waits for may be in a file's turn; it must not wait for a change of names itself.
 */
export class OpenContents {
  readonly #root: BrowserNode;
  readonly #opened = new Set<BrowserNode>();
  /** `null` where it cannot be had, or is not wanted. */
  #worker: FileWorker | null | undefined;

  /** @param byWorker whether a worker may hold the files: it keeps everybody else from them */
  constructor(root: BrowserNode, byWorker: boolean) {
    this.#root = root;
    if (!byWorker) this.#worker = null;
  }

  use<T>(node: BrowserNode, work: (content: FileContent) => Promise<T>): Promise<T> {
    return node.turn.run(async () => {
      node.content ??= await this.#open(fileOf(node));
      this.#opened.add(node);
      try {
        return await work(node.content);
      } finally {
        await this.closeUnused(node);
      }
    });
  }

  /** Closes a file that the guest does not have open, and removes one that has no name any more. In its turn. */
  async closeUnused(node: BrowserNode): Promise<void> {
    if (node.open > 0) return;
    await this.close(node);
    if (!node.isGone || node.handle === undefined) return;
    node.handle = undefined;
    await folderOf(this.#root)
      .removeEntry(goneName(node.ino))
      .catch(() => {});
  }

  /** Closes a file. In its turn. */
  async close(node: BrowserNode): Promise<void> {
    const { content } = node;
    if (content === undefined) return;
    node.length = content.size;
    node.content = undefined;
    this.#opened.delete(node);
    await content.close();
  }

  async flushAll(): Promise<void> {
    await Promise.all([...this.#opened].map((node) => node.turn.run(async () => node.content?.flush())));
  }

  async closeAll(): Promise<void> {
    for (const node of [...this.#opened]) await node.turn.run(() => this.close(node));
  }

  /** Ends the worker. */
  stop(): void {
    this.#worker?.close();
  }

  async #open(handle: FileSystemFileHandle): Promise<FileContent> {
    if (this.#worker === undefined) this.#worker = startWorker();
    if (this.#worker === null) return StreamedContent.open(handle);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#worker.open(handle);
      } catch (error) {
        const name = nameOf(error);
        if (name === 'NoModificationAllowedError' && attempt < attempts) {
          await new Promise((resolve) => setTimeout(resolve, pause));
        } else if (name === 'NoModificationAllowedError' || name === 'NotFoundError') {
          throw error;
        } else {
          // No such worker, or not such files within it.
          this.#worker.close();
          this.#worker = null;
          return StreamedContent.open(handle);
        }
      }
    }
  }
}

function startWorker(): FileWorker | null {
  try {
    return new FileWorker();
  } catch {
    return null;
  }
}
