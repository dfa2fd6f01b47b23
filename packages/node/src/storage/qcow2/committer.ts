import type { HostFile } from './host-file.ts';
import type { Mapping } from './mapping.ts';
import type { Refcounts } from './refcounts.ts';
import type { Change, Table } from './table.ts';

/** Bytes of metadata, and references that ended, that wait in memory for a flush. */
const mostChanged = 16 * 2 ** 20;
const mostReleased = 4096;

/** What the metadata was at one moment, as far as it is not in the file. */
interface Batch {
  /** To be written before anything refers to them: new tables, and counts. */
  readonly first: readonly Change[];
  /** The refcount table, which refers to blocks of counts; and where it is, where that changed. */
  readonly second: readonly Change[];
  readonly moved: Refcounts['moved'];
  /** What refers to data and tables. */
  readonly third: readonly Change[];
  /** References that end with it, and have not yet. */
  readonly released: number[];
}

/**
 * Brings an image's metadata to the file, in an order in which it is sound wherever it stops: data and counts first,
 * then what refers to them, and only then are clusters free that nothing refers to any more. A crash costs at most
 * clusters that are counted and not used.
 */
export class Committer {
  readonly #host: HostFile;
  readonly #mapping: Mapping;
  readonly #refcounts: Refcounts;
  readonly #writeMoved: (moved: NonNullable<Refcounts['moved']>) => void;
  readonly #clusterSize: number;
  #run: Run | undefined;
  #next: Promise<void> | undefined;

  constructor(
    host: HostFile,
    mapping: Mapping,
    refcounts: Refcounts,
    clusterSize: number,
    writeMoved: (moved: NonNullable<Refcounts['moved']>) => void,
  ) {
    this.#host = host;
    this.#mapping = mapping;
    this.#refcounts = refcounts;
    this.#clusterSize = clusterSize;
    this.#writeMoved = writeMoved;
  }

  /** True when the file has all that there is, and nothing is on its way there. */
  get isClean(): boolean {
    const { blocks, changedTables, moved, releasedCount } = this.#refcounts;
    const changed = [
      blocks.changed,
      changedTables,
      this.#mapping.tables.changed,
      this.#mapping.changedTables,
    ];
    if (this.#run !== undefined || this.#next !== undefined) return false;
    return releasedCount === 0 && moved === undefined && changed.every(({ size }) => size === 0);
  }

  /** True when more is kept in memory than should be. */
  get isCrowded(): boolean {
    const bytes = this.#refcounts.blocks.changedBytes + this.#mapping.tables.changedBytes;
    return bytes > mostChanged || this.#refcounts.releasedCount > mostReleased;
  }

  /** Makes all that was written so far stable. */
  flush(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#run === undefined) return this.#finish(this.#begin());
    // What it took is not all that was written by now: one more for whoever comes while it is under way.
    this.#next = this.#finishNext(this.#run);
    return this.#next;
  }

  /** The same, while the whole process waits. */
  flushNow(): void {
    const sync = (): void => this.#host.raw.flushNow();
    const earlier = this.#run;
    this.#run = undefined;
    earlier?.finishNow(sync);
    this.#begin().finishNow(sync);
    this.#run = undefined;
  }

  async #finish(run: Run): Promise<void> {
    try {
      await run.finish(() => this.#host.raw.flush());
    } finally {
      if (this.#run === run) this.#run = undefined;
    }
  }

  async #finishNext(earlier: Run): Promise<void> {
    // Whoever asked for it hears of its failure.
    await this.#finish(earlier).catch(() => {});
    this.#next = undefined;
    return this.#finish(this.#begin());
  }

  #begin(): Run {
    const batch = this.#freeze();
    const run = new Run(
      this.#steps(batch),
      () => this.#putBack(batch),
      () => unpin(batch),
    );
    this.#run = run;
    return run;
  }

  #freeze(): Batch {
    const { blocks, changedTables, moved } = this.#refcounts;
    const take = (tables: Iterable<Table>): Change[] => [...tables].map((table) => table.take());
    const counts = take(blocks.changed);
    const tables = take(changedTables);
    const maps = take(this.#mapping.tables.changed);
    const l1 = take(this.#mapping.changedTables);
    this.#refcounts.moved = undefined;
    const isFresh = ({ fresh }: Change): boolean => fresh;
    const isOld = ({ fresh }: Change): boolean => !fresh;
    return {
      first: [...counts, ...tables.filter(isFresh), ...maps.filter(isFresh)],
      second: tables.filter(isOld),
      moved,
      third: [...maps.filter(isOld), ...l1],
      released: this.#refcounts.takeReleased(),
    };
  }

  /** Each `yield` waits until all that was written is stable. */
  *#steps(batch: Batch): Generator<void, void> {
    this.#host.settle();
    this.#write(batch.first);
    yield;
    if (batch.second.length > 0 || batch.moved !== undefined) {
      this.#write(batch.second);
      if (batch.moved !== undefined) this.#writeMoved(batch.moved);
      yield;
    }
    if (batch.third.length > 0) {
      this.#write(batch.third);
      yield;
    }
    this.#free(batch.released);
  }

  #write(changes: readonly Change[]): void {
    for (const { offset, bytes } of changes) this.#host.write(offset, bytes);
  }

  #free(released: number[]): void {
    if (released.length === 0) return;
    const free: number[] = [];
    try {
      this.#refcounts.applyReleased(released, free);
    } finally {
      this.#clear(free.sort((a, b) => a - b));
    }
  }

  /** Nothing refers to these clusters, in order, any more. What cannot be done here costs room, and fails nobody. */
  #clear(free: readonly number[]): void {
    const size = this.#clusterSize;
    for (const cluster of free) this.#mapping.tables.drop(cluster * size);
    for (let first = 0, next = 1; first < free.length; first = next++) {
      while (next < free.length && free[next] === free[next - 1]! + 1) next++;
      this.#giveRoomBack(free[first]! * size, (next - first) * size);
    }
    // Lower counts may go to the file at any time from here on; now, so that a crash costs no room.
    for (const block of [...this.#refcounts.blocks.changed]) if (!block.fresh) this.#writeEarly(block);
  }

  #giveRoomBack(offset: number, length: number): void {
    try {
      this.#host.raw.punch(offset, length);
    } catch {
      // The clusters are free all the same.
    }
  }

  #writeEarly(block: Table): void {
    const change = block.take();
    block.pinned--;
    try {
      this.#host.write(change.offset, change.bytes);
    } catch {
      // The next flush writes it, or says why not.
      block.putBack(change);
    }
  }

  #putBack(batch: Batch): void {
    for (const change of [...batch.first, ...batch.second, ...batch.third]) change.table.putBack(change);
    this.#refcounts.moved ??= batch.moved;
    this.#refcounts.putBackReleased(batch.released);
  }
}

function unpin({ first, second, third }: Batch): void {
  for (const { table } of [...first, ...second, ...third]) table.pinned--;
}

/** Steps that are gone through at leisure, unless somebody cannot wait. */
class Run {
  readonly #steps: Iterator<void>;
  readonly #failed: () => void;
  readonly #ended: () => void;
  /** Steps that were made. */
  #count = 0;
  #done = false;
  #error: unknown;

  constructor(steps: Iterator<void>, failed: () => void, ended: () => void) {
    this.#steps = steps;
    this.#failed = failed;
    this.#ended = ended;
    this.#advance();
  }

  async finish(sync: () => Promise<void>): Promise<void> {
    while (!this.#done) {
      const count = this.#count;
      try {
        await sync();
      } catch (error) {
        this.#end(error);
      }
      // Somebody else may have gone on meanwhile.
      if (!this.#done && count === this.#count) this.#advance();
    }
    if (this.#error !== undefined) throw this.#error;
  }

  finishNow(sync: () => void): void {
    while (!this.#done) {
      try {
        sync();
        this.#advance();
      } catch (error) {
        this.#end(error);
      }
    }
    if (this.#error !== undefined) throw this.#error;
  }

  #advance(): void {
    this.#count++;
    try {
      if (this.#steps.next().done) this.#end(undefined);
    } catch (error) {
      this.#end(error);
    }
  }

  #end(error: unknown): void {
    if (this.#done) return;
    this.#done = true;
    this.#error = error;
    if (error !== undefined) this.#failed();
    this.#ended();
  }
}
