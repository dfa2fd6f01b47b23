import { type OpenBlk, requestStatus, requestType, sectorSize, virtio_blk_req } from 'virtio/devices/blk';
import type { OpenQueue } from 'virtio/driver';
import type { Region } from 'virtio/memory';
import { Latencies } from './latencies.ts';

/** What is asked of a disk, over and over. */
export interface BlkLoad {
  /** Of a hundred requests, so many write. */
  readonly writes: number;
  /** At places that are drawn by lot, or one behind the other. */
  readonly random: boolean;
  /** Bytes of one request, whole sectors. */
  readonly blockSize: number;
  /** Requests under way at a time. */
  readonly depth: number;
  readonly milliseconds: number;
}

/** What came of it. */
export interface BlkLoadResult {
  readonly reads: Latencies;
  readonly writes: Latencies;
  /** Requests that the device ended with another status than OK. */
  readonly errors: number;
  readonly seconds: number;
}

/** One request that is sent again as soon as it is done: its header, data and status have their place for good. */
interface Slot {
  readonly queue: OpenQueue;
  readonly header: number;
  readonly status: number;
  readonly data: number;
}

const headerBytes = 16;
const idle = 0xff;

/**
 * Keeps so many requests under way for so long, and measures each from its submission to its completion. Nothing is
 * copied: it is the queue that is measured, and the device behind it.
 *
 * @throws whatever makes a queue fail.
 */
export async function loadBlk(
  disk: OpenBlk,
  queues: readonly OpenQueue[],
  load: BlkLoad,
): Promise<BlkLoadResult> {
  const run = new Run(disk, load);
  const slots = Array.from({ length: load.depth }, (_, index) =>
    run.makeSlot(queues[index % queues.length]!),
  );
  try {
    return await run.go(slots);
  } finally {
    for (const { queue, header } of slots) if (!queue.closed) queue.allocator.free(header);
  }
}

class Run {
  readonly #load: BlkLoad;
  readonly #sectors: number;
  readonly #blocks: number;
  readonly #reads = new Latencies();
  readonly #writes = new Latencies();
  #errors = 0;
  #next = 0;
  #end = 0;
  #running = 0;
  #done: () => void = () => {};
  #failed: (error: unknown) => void = () => {};

  constructor(disk: OpenBlk, load: BlkLoad) {
    this.#load = load;
    this.#sectors = load.blockSize / sectorSize;
    this.#blocks = Math.floor(disk.capacity / this.#sectors);
  }

  makeSlot(queue: OpenQueue): Slot {
    const header = queue.allocator.allocate(headerBytes + sectorSize + this.#load.blockSize, sectorSize);
    return { queue, header, status: header + headerBytes, data: header + sectorSize };
  }

  async go(slots: readonly Slot[]): Promise<BlkLoadResult> {
    const ended = new Promise<void>((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
    });
    const begin = performance.now();
    this.#end = begin + this.#load.milliseconds;
    try {
      for (const slot of slots) this.#start(slot);
    } catch (error) {
      // Those under way fail as well, and one failure is told.
      this.#failed(error);
    }
    await ended;
    const seconds = (performance.now() - begin) / 1000;
    return { reads: this.#reads, writes: this.#writes, errors: this.#errors, seconds };
  }

  #start(slot: Slot): void {
    const { queue, header, status, data } = slot;
    const { blockSize } = this.#load;
    const region = queue.memory.find(header, headerBytes + sectorSize + blockSize);
    if (region === undefined) throw new Error('the memory of the load is gone');
    const headers = [{ address: header, length: headerBytes }];
    const reading = {
      readable: headers,
      writable: [
        { address: data, length: blockSize },
        { address: status, length: 1 },
      ],
    };
    const writing = {
      readable: [...headers, { address: data, length: blockSize }],
      writable: [{ address: status, length: 1 }],
    };
    let isWrite = false;
    let began = 0;
    const send = (now: number): void => {
      isWrite = this.#drawsWrite();
      this.#prepare(region, slot, isWrite);
      const { readable, writable } = isWrite ? writing : reading;
      began = now;
      queue.submit(readable, writable, completed);
    };
    const completed = (_written: number, failure?: Error): void => {
      if (failure !== undefined) {
        this.#failed(failure);
        return;
      }
      const now = performance.now();
      (isWrite ? this.#writes : this.#reads).add((now - began) * 1e6);
      if (region.bytes[status - region.start] !== requestStatus.OK) this.#errors++;
      if (now < this.#end) send(now);
      else if (--this.#running === 0) this.#done();
    };
    this.#running++;
    send(performance.now());
  }

  #drawsWrite(): boolean {
    const { writes } = this.#load;
    return writes > 0 && (writes >= 100 || Math.random() * 100 < writes);
  }

  #prepare(region: Region, { header, status }: Slot, isWrite: boolean): void {
    const block = this.#load.random ? Math.floor(Math.random() * this.#blocks) : this.#next++ % this.#blocks;
    const sector = block * this.#sectors;
    const { view } = region;
    const at = header - region.start;
    const { type, sector: place } = virtio_blk_req.field;
    view.setUint32(at + type.offset, isWrite ? requestType.OUT : requestType.IN, true);
    view.setUint32(at + place.offset, sector, true);
    view.setUint32(at + place.offset + 4, Math.floor(sector / 2 ** 32), true);
    view.setUint8(status - region.start, idle);
  }
}
