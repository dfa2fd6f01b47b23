import type { DeviceCore } from '../../device/core.ts';
import type { TracedBlock } from '../../device/tracing.ts';
import { UsageError } from '../../errors.ts';
import type { BarContent } from './bar.ts';
import type { QueueNumbers } from './common-config.ts';

/** Bytes of the largest notification. */
const widest = 4;

/** For the trace. */
const block: TracedBlock = { name: 'notify', holding: () => ({ name: 'queue_notify' }) };

/** Where the driver writes its available buffer notifications (4.1.5.2). */
export class NotifyArea implements BarContent {
  /** Bytes; enough for every queue in every configuration. */
  readonly length: number;

  readonly #core: DeviceCore;
  readonly #multiplier: number;
  readonly #numbers: QueueNumbers;
  readonly #busMaster: () => boolean;
  /** The queue of each `queue_notif_config_data`. */
  readonly #queueOfData = new Map<number, number>();

  /** @throws {UsageError} BAD_ARGUMENT when two queues could not be told apart. */
  constructor(core: DeviceCore, multiplier: number, numbers: QueueNumbers, busMaster: () => boolean) {
    this.#busMaster = busMaster;
    this.#core = core;
    this.#multiplier = multiplier;
    this.#numbers = numbers;
    let last = 0;
    for (const queue of core.queues.keys()) {
      last = Math.max(last, numbers.notifyOff(queue) * multiplier);
      const data = numbers.notifConfigData(queue);
      if (this.#queueOfData.has(data)) {
        throw new UsageError('BAD_ARGUMENT', `two queues have the queue_notif_config_data ${data}`);
      }
      this.#queueOfData.set(data, queue);
    }
    this.length = last + widest;
  }

  /** There is nothing to read. */
  read(offset: number, width: number): number {
    this.#core.trace?.register('read', block, offset, width, 0);
    this.#core.violation('REGISTER_ACCESS', 'the notification structure was read');
    return 0;
  }

  /** Takes 16 bits, or 32 with VIRTIO_F_NOTIFICATION_DATA; the lower 16 tell which queue it is. */
  write(offset: number, width: number, value: number): void {
    const core = this.#core;
    core.trace?.register('write', block, offset, width, value);
    const expected = core.negotiated('NOTIFICATION_DATA') ? 4 : 2;
    if (width !== expected) {
      core.violation('REGISTER_ACCESS', `a notification of ${width} bytes, where ${expected} are negotiated`);
      return;
    }
    const number = value & 0xffff;
    const queue = core.negotiated('NOTIF_CONFIG_DATA') ? this.#queueOfData.get(number) : number;
    if (queue === undefined || queue >= core.queues.length) {
      core.violation('NOTIFICATION_UNEXPECTED', `a notification names queue ${number}, which does not exist`);
      return;
    }
    const address = this.#numbers.notifyOff(queue) * this.#multiplier;
    if (offset !== address) {
      core.violation(
        'REGISTER_ACCESS',
        `queue ${queue} was notified at ${offset} of the structure; its address is ${address}`,
      );
      return;
    }
    if (!this.#busMaster()) {
      core.violation('NOTIFICATION_UNEXPECTED', `queue ${queue} was notified while Bus Master is off`);
    }
    core.notify(queue);
  }
}
