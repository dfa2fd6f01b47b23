import { type BrowserNode, folderOf } from './node.ts';
import { writeRecord } from './record.ts';
import { Turns } from './turns.ts';

/** Milliseconds until a record is written. */
const delay = 1000;

/** Which directories' records are to be written, and when. */
export class UnwrittenRecords {
  readonly #unwritten = new Set<BrowserNode>();
  readonly #isKept: boolean;
  readonly #turns = new Turns();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param isKept whether there are records at all */
  constructor(isKept: boolean) {
    this.#isKept = isKept;
  }

  /** The records of these directories are to be written before long. */
  mark(...directories: BrowserNode[]): void {
    if (!this.#isKept) return;
    for (const directory of directories) this.#unwritten.add(directory);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Whoever syncs hears of what fails.
      void this.writeAll().catch(() => {});
    }, delay);
  }

  /** It lost its name: its record is of no use. */
  drop(directory: BrowserNode): void {
    this.#unwritten.delete(directory);
  }

  writeAll(): Promise<void> {
    return this.#write([...this.#unwritten]);
  }

  /** Writes the records that lead to a directory's files. */
  writeUpwards(directory: BrowserNode): Promise<void> {
    const all: BrowserNode[] = [];
    for (let at = directory; ; at = at.parent) {
      if (this.#unwritten.has(at)) all.push(at);
      if (at.parent === at) break;
    }
    return this.#write(all);
  }

  /** What is not written by now never is. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #write(directories: readonly BrowserNode[]): Promise<void> {
    return this.#turns.run(async () => {
      for (const directory of directories) {
        if (!this.#unwritten.delete(directory) || directory.isGone) continue;
        // What was not listed is not known, and its record would lose it.
        if (directory.listedAt === undefined) continue;
        await writeRecord(folderOf(directory), directory).catch((error: unknown) => {
          if (!directory.isGone) this.#unwritten.add(directory);
          throw error;
        });
      }
    });
  }
}
