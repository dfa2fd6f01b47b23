import type { OpenDevice } from '../../driver/open-device.ts';
import type { OpenQueue } from '../../driver/queue.ts';
import { HostError, PeerError } from '../../errors.ts';
import type { BufferElement } from '../../virtqueue/queue.ts';
import { ByteBudget } from './driver-budget.ts';
import type { blk } from './spec.ts';
import {
  type RequestStatusName,
  requestStatus,
  requestStatusName,
  requestTypeName,
  virtio_blk_req,
} from './spec-requests.ts';

/** A request that the device ended with a status other than OK. */
export class BlkStatusError extends HostError {
  /** VIRTIO_BLK_S_*, by name; `status 7` for one that has none. */
  readonly status: RequestStatusName | `status ${number}`;

  constructor(type: number, sector: number, status: number) {
    const name = requestStatusName(status);
    super('IO_ERROR', `blk: ${requestTypeName(type)} at sector ${sector} ended with ${name}`);
    this.status = name;
  }
}

/** What the status byte holds before the device has written it. */
const noStatus = 0xff;

/** The most data of one request, however much the device would take. */
const mostData = 256 * 1024;

/** Sends requests: lays them out in shared memory, chooses a queue, reads the status. */
export class BlkRequests {
  /** Bytes of data that one request can carry; whole sectors, at least one. */
  readonly dataMax: number;
  readonly #device: OpenDevice<typeof blk>;
  readonly #queues: readonly OpenQueue[];
  readonly #sizeMax: number;
  readonly #budget: ByteBudget;

  constructor(device: OpenDevice<typeof blk>, queues: readonly OpenQueue[]) {
    const { size_max, seg_max } = device.config;
    this.#device = device;
    this.#queues = queues;
    this.#sizeMax = device.has('SIZE_MAX') && size_max ? size_max : 2 ** 32 - 1;
    const elements = Math.max(1, Math.min(...queues.map((queue) => queue.size)) - 2);
    const segMax = Math.min(elements, (device.has('SEG_MAX') && seg_max) || elements);
    // No more than half of what there is: others live in this memory too.
    const memory = Math.floor(device.transport.allocator.available / 2);
    const most = Math.min(mostData, this.#sizeMax * segMax, memory - 64);
    this.dataMax = Math.max(512, Math.floor(most / 512) * 512);
    this.#budget = new ByteBudget(Math.max(memory, this.dataMax + 64));
  }

  /**
   * Sends one request and gives back the `answerLength` bytes before its status. `sector` counts 512 bytes.
   *
   * @throws {BlkStatusError} when the device ended it with another status than OK.
   * @spec 5.2.6.1 driver: Device Types / Block Device / Device Operation
   */
  async send(
    type: number,
    sector: number,
    data: Uint8Array = new Uint8Array(),
    answerLength = 0,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const header = this.#device.encode(virtio_blk_req, { type, sector: BigInt(sector) });
    const total = header.length + data.length + answerLength + 1;
    await this.#budget.take(total);
    const queue = this.#leastBusy();
    const { memory, allocator } = queue;
    let address: number | undefined;
    try {
      address = allocator.allocate(total);
      const dataAddress = address + header.length;
      const answerAddress = dataAddress + data.length;
      const statusAddress = answerAddress + answerLength;
      memory.write(address, header);
      memory.write(dataAddress, data);
      memory.write(statusAddress, Uint8Array.of(noStatus));
      await submit(
        queue,
        [{ address, length: header.length }, ...this.#elements(dataAddress, data.length)],
        [...this.#elements(answerAddress, answerLength), { address: statusAddress, length: 1 }],
      );
      const status = memory.read(statusAddress, 1)[0] ?? noStatus;
      if (status === noStatus) {
        const clause = 'device: Device Types / Block Device / Device Operation';
        throw new PeerError('BAD_RESPONSE', 'the blk device returned a request without a status', clause);
      }
      if (status !== requestStatus.OK) throw new BlkStatusError(type, sector, status);
      return memory.read(answerAddress, answerLength);
    } finally {
      if (address !== undefined) queue.free(address);
      this.#budget.give(total);
    }
  }

  #elements(address: number, length: number): BufferElement[] {
    const elements: BufferElement[] = [];
    for (let done = 0; done < length; done += this.#sizeMax) {
      elements.push({ address: address + done, length: Math.min(this.#sizeMax, length - done) });
    }
    return elements;
  }

  #leastBusy(): OpenQueue {
    return this.#queues.reduce((best, queue) => (queue.pending < best.pending ? queue : best));
  }
}

function submit(
  queue: OpenQueue,
  readable: readonly BufferElement[],
  writable: readonly BufferElement[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    queue.submit(readable, writable, (_written, failure) =>
      failure === undefined ? resolve() : reject(failure),
    );
  });
}
