import type { DeviceCore } from '../device/core.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { DeviceRing } from '../virtqueue/device-ring.ts';
import { packedFormat } from '../virtqueue/packed/layout.ts';
import type { QueueAreas } from '../virtqueue/queue.ts';
import type { RingFormat } from '../virtqueue/ring-format.ts';
import { splitFormat } from '../virtqueue/split/layout.ts';
import { type Answer, type Command, number64, refuse } from './command.ts';
import { featureRequest, probed } from './device-feature.ts';
import { DirtyPages, dirtyPageSize } from './dirty-pages.ts';
import {
  deviceFeature,
  featureFlag,
  vfio_user_device_feature,
  vfio_user_device_feature_dma_logging_control,
  vfio_user_device_feature_dma_logging_range,
  vfio_user_device_feature_dma_logging_report,
} from './messages.ts';

const { DMA_LOGGING_START, DMA_LOGGING_STOP, DMA_LOGGING_REPORT } = deviceFeature;
const head = vfio_user_device_feature.size;

/** Pages that the device has written, for a client that asks: buffers as they are given back, rings as long as they are there. */
export class DmaLogging {
  readonly #memory: GuestMemory;
  readonly #core: () => DeviceCore | undefined;
  readonly #maxTransfer: number;
  #pages: DirtyPages | undefined;

  constructor(memory: GuestMemory, core: () => DeviceCore | undefined, maxTransfer: number) {
    this.#memory = memory;
    this.#core = core;
    this.#maxTransfer = maxTransfer;
  }

  /** Starts, stops, or reports; `undefined` for a feature of another kind. */
  feature(command: Command): Answer | undefined {
    const request = featureRequest(command);
    const { argsz, flags, index, wants } = request;
    if (index !== DMA_LOGGING_START && index !== DMA_LOGGING_STOP && index !== DMA_LOGGING_REPORT) {
      return undefined;
    }
    const way = index === DMA_LOGGING_REPORT ? featureFlag.GET : featureFlag.SET;
    if (this.#core() === undefined) refuse('ENOTTY', 'it is not known what the device writes');
    const answer = probed(command, request, way);
    if (answer !== undefined) return answer;
    if (wants !== way) refuse('EINVAL', `the flags are 0x${flags.toString(16)}`);
    if (index === DMA_LOGGING_START) return this.#start(command);
    return index === DMA_LOGGING_STOP ? this.#stop(command) : this.#report(command, argsz);
  }

  /** The device has written where the client was asked to put it. */
  wrote(address: number, length: number): void {
    this.#pages?.mark(address, length);
  }

  /** A ring was set up, into which the device will write. */
  opened({ format }: DeviceRing, areas: QueueAreas): void {
    if (this.#pages !== undefined) markRing(this.#pages, format, areas);
  }

  /** The client is gone. */
  clear(): void {
    this.#pages = undefined;
    this.#memory.onDeviceWrite = undefined;
  }

  /** All is recorded, whatever ranges the client names. */
  #start(command: Command): Answer {
    const { size } = vfio_user_device_feature_dma_logging_control;
    const range = vfio_user_device_feature_dma_logging_range;
    if (command.length < head + size) refuse('EINVAL', `${command.length} bytes start no logging`);
    const control = vfio_user_device_feature_dma_logging_control.read(command.view, head);
    const { page_size, num_ranges } = control;
    if (!isPowerOfTwo(page_size)) refuse('EINVAL', `pages have ${page_size} bytes`);
    if (command.length !== head + size + num_ranges * range.size) {
      refuse('EINVAL', `${num_ranges} ranges came in ${command.length} bytes`);
    }
    for (let i = 0; i < num_ranges; i++) {
      const { iova, length } = range.read(command.view, head + size + i * range.size);
      number64(iova + length, 'the end of a range');
    }
    if (this.#pages !== undefined) refuse('EINVAL', 'writes are logged already');
    this.#pages = new DirtyPages();
    this.#markRings();
    this.#memory.onDeviceWrite = (region, offset, length) => {
      // Others are copies, which are sent.
      if (this.#memory.regions.includes(region)) this.#pages?.mark(region.start + offset, length);
    };
    const chosen = vfio_user_device_feature_dma_logging_control.encode({
      ...control,
      page_size: BigInt(dirtyPageSize),
    });
    return { payload: [command.data(0).subarray(0, head), chosen, command.data(head + size)] };
  }

  #stop(command: Command): Answer {
    if (this.#pages === undefined) refuse('EINVAL', 'no writes are logged');
    if (command.length !== head) refuse('EINVAL', `${command.length} bytes to stop logging`);
    this.clear();
    return { payload: [command.data(0)] };
  }

  /** What is reported is forgotten. */
  #report(command: Command, argsz: number): Answer {
    const { size } = vfio_user_device_feature_dma_logging_report;
    if (command.length !== head + size) refuse('EINVAL', `${command.length} bytes ask for no report`);
    const asked = vfio_user_device_feature_dma_logging_report.read(command.view, head);
    const start = number64(asked.iova, 'the address of a report');
    const length = number64(asked.length, 'the length of a report');
    number64(asked.iova + asked.length, 'the end of a report');
    const page = number64(asked.page_size, 'the page size of a report');
    if (!isPowerOfTwo(asked.page_size)) refuse('EINVAL', `pages have ${page} bytes`);
    const pages = this.#pages ?? refuse('EINVAL', 'no writes are logged');
    const bits = Math.ceil(length / page);
    const bytes = 8 * Math.ceil(bits / 64);
    if (bytes > this.#maxTransfer) refuse('E2BIG', `a report of ${bytes} bytes`);
    if (argsz < head + size + bytes) refuse('EINVAL', `argsz is ${argsz}, fewer than ${head + size + bytes}`);
    const bitmap = new Uint8Array(bytes);
    pages.take(start, start + length, (from, to) => {
      const last = Math.floor((to - 1 - start) / page);
      for (let bit = Math.floor((from - start) / page); bit <= last; bit++) {
        bitmap[bit >>> 3] = (bitmap[bit >>> 3] ?? 0) | (1 << (bit & 7));
      }
    });
    this.#markRings();
    return { payload: [command.data(0), bitmap] };
  }

  /** Nobody tells when a ring is written, so those that are there always count as written. */
  #markRings(): void {
    const core = this.#core();
    if (core === undefined || this.#pages === undefined) return;
    const format = core.negotiated('RING_PACKED') ? packedFormat : splitFormat;
    for (const setup of core.queues) if (setup.enabled) markRing(this.#pages, format, setup);
  }
}

function markRing(pages: DirtyPages, format: RingFormat, areas: QueueAreas): void {
  const { descriptor, device } = format.areas(areas.size);
  pages.mark(areas.device, device.length);
  if (format.name === 'packed') pages.mark(areas.descriptor, descriptor.length);
}

const isPowerOfTwo = (value: bigint): boolean => value > 0n && (value & (value - 1n)) === 0n;
