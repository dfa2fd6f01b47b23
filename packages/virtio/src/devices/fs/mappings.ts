import type { FileTree, OpenFile } from './file-tree.ts';
import { FsError } from './spec-errno.ts';
import type { FileMapping, FsWindow } from './window.ts';

/** A file that is open for the sake of its mappings. */
interface Shown {
  readonly file: OpenFile;
  /** Mappings of it: one, or what is left of it. */
  uses: number;
}

interface Mapping extends FileMapping {
  readonly shown: Shown;
}

/** What the driver asks to be shown. */
export type WantedMapping = Omit<FileMapping, 'file'>;

/** What is mapped in the window of a device. Whatever the driver asks for comes here one after the other. */
export class Mappings {
  readonly window: FsWindow;
  readonly #tree: FileTree<object, OpenFile>;
  readonly #most: number;
  /** Runs what nobody waits for. */
  readonly #quietly: (work: () => void | Promise<void>) => void | Promise<void>;
  /** In the order of their offsets. */
  #mappings: Mapping[] = [];
  #last: Promise<void> = Promise.resolve();
  /** Rises when all are taken away: what was asked for before comes too late. */
  #epoch = 0;

  constructor(
    window: FsWindow,
    tree: FileTree<object, OpenFile>,
    most: number,
    quietly: (work: () => void | Promise<void>) => void | Promise<void>,
  ) {
    this.window = window;
    this.#tree = tree;
    this.#most = most;
    this.#quietly = quietly;
  }

  get size(): number {
    return this.#mappings.length;
  }

  /**
   * Shows a range of a file, in place of whatever is there. `open` opens the file for it, once it is its turn.
   *
   * @throws {FsError} EINVAL for what is not aligned or not within the window, ENOMEM for one mapping too many, and what the
   * window and the tree fail with.
   * @spec 5.11.6.4.1 device: Device Types / File System Device / Device Operation / Device Operation: DAX Window
   */
  map(wanted: WantedMapping, open: () => OpenFile | Promise<OpenFile>): Promise<void> {
    const { offset, length, from } = wanted;
    this.#check(offset, length);
    if (from % this.window.alignment !== 0 || from > Number.MAX_SAFE_INTEGER - length)
      throw FsError.of('EINVAL');
    return this.#inTurn(async (epoch) => {
      // Cutting out of the middle of one leaves two.
      if (this.#mappings.length + 2 > this.#most) throw FsError.of('ENOMEM');
      const file = await open();
      const shown: Shown = { file, uses: 1 };
      try {
        await this.#clear(offset, offset + length);
        if (epoch !== this.#epoch) throw FsError.of('EIO');
        await this.#show({ ...wanted, file, shown });
      } catch (error) {
        this.#leave(shown);
        throw error;
      }
    });
  }

  /**
   * Takes ranges of the window away; where nothing is shown, nothing happens.
   *
   * @throws {FsError} EINVAL, and nothing is taken away.
   */
  unmap(ranges: readonly { readonly offset: number; readonly length: number }[]): Promise<void> {
    for (const { offset, length } of ranges) this.#check(offset, length);
    return this.#inTurn(async () => {
      for (const { offset, length } of ranges) await this.#clear(offset, offset + length);
    });
  }

  /** The session is over: all is taken away, and nobody waits for that but whoever maps next. */
  end(): void {
    this.#epoch++;
    if (this.#mappings.length === 0) return;
    const gone = this.#mappings;
    this.#mappings = [];
    // What can be done at once is: the memory may be somebody else's in a moment.
    const pending = gone.map((mapping) => this.#quietly(() => this.#hide(mapping)));
    const before = this.#last;
    this.#last = Promise.all([before, ...pending]).then(() => {});
  }

  #check(offset: number, length: number): void {
    const { alignment, length: whole } = this.window;
    const isWithin = length > 0 && length <= whole && offset <= whole - length;
    if (!isWithin || offset % alignment !== 0 || length % alignment !== 0) throw FsError.of('EINVAL');
  }

  #inTurn(task: (epoch: number) => Promise<void>): Promise<void> {
    const epoch = this.#epoch;
    const turn = this.#last.then(() => {
      if (epoch !== this.#epoch) throw FsError.of('EIO');
      return task(epoch);
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Takes a range away. Of a mapping that is only partly in it the rest is shown anew. */
  async #clear(start: number, end: number): Promise<void> {
    const epoch = this.#epoch;
    for (;;) {
      const mapping = this.#mappings.find(({ offset, length }) => offset < end && start < offset + length);
      if (mapping === undefined || epoch !== this.#epoch) return;
      const { offset, length, shown } = mapping;
      this.#mappings = this.#mappings.filter((other) => other !== mapping);
      // Held, so that what is left of it finds its file open.
      shown.uses++;
      try {
        await this.#hide(mapping);
        for (const [from, to] of [
          [offset, Math.min(start, offset + length)],
          [Math.max(end, offset), offset + length],
        ] as const) {
          if (to <= from || epoch !== this.#epoch) continue;
          shown.uses++;
          const rest = { ...mapping, offset: from, length: to - from, from: mapping.from + from - offset };
          try {
            await this.#show(rest);
          } catch (error) {
            this.#leave(shown);
            throw error;
          }
        }
      } finally {
        this.#leave(shown);
      }
    }
  }

  async #show(mapping: Mapping): Promise<void> {
    const epoch = this.#epoch;
    await this.window.map(mapping);
    if (epoch !== this.#epoch) {
      await this.window.unmap(mapping);
      throw FsError.of('EIO');
    }
    this.#mappings.push(mapping);
    this.#mappings.sort((a, b) => a.offset - b.offset);
  }

  /** It is gone from the list already. */
  #hide(mapping: Mapping): void | Promise<void> {
    let pending: void | Promise<void>;
    try {
      pending = this.window.unmap(mapping);
    } catch (error) {
      this.#leave(mapping.shown);
      throw error;
    }
    if (pending instanceof Promise) return pending.finally(() => this.#leave(mapping.shown));
    this.#leave(mapping.shown);
  }

  #leave(shown: Shown): void {
    shown.uses--;
    if (shown.uses === 0) void this.#quietly(() => this.#tree.release?.(shown.file));
  }
}
