import type { Descriptor, EventHost } from '../channel/descriptors.ts';
import { type Answer, type Command, refuse } from './command.ts';
import type { VfioFunction, VfioNotification } from './function.ts';
import {
  ioEventFlag,
  ioFdType,
  regionCount,
  vfio_user_region_io_fds,
  vfio_user_sub_region_ioeventfd,
} from './messages.ts';

/** Events that stand for writes to a region, which reach the device without a message. */
export class RegionEvents {
  readonly #function: VfioFunction;
  readonly #host: EventHost;
  /** Events of each region that was asked for, in the order of its notifications. */
  readonly #events = new Map<number, readonly Descriptor[]>();
  readonly #stops: (() => void)[] = [];

  constructor(pciFunction: VfioFunction, host: EventHost) {
    this.#function = pciFunction;
    this.#host = host;
  }

  /** As many of the region's notifications as a message can carry descriptors; writes tell of the others. */
  answer(command: Command, maxDescriptors: number): Answer {
    const { argsz, flags, index } = command.read(vfio_user_region_io_fds);
    if (index >= regionCount) refuse('EINVAL', `there is no region ${index}`);
    if (flags !== 0) refuse('EINVAL', `the flags are 0x${flags.toString(16)}`);
    const header = vfio_user_region_io_fds.size;
    if (argsz < header) refuse('EINVAL', `argsz is ${argsz}, fewer than ${header}`);
    const found = this.#function.notifications.filter(({ bar }) => bar === index).slice(0, maxDescriptors);
    const needed = header + found.length * vfio_user_sub_region_ioeventfd.size;
    const info = vfio_user_region_io_fds.encode({ argsz: needed, index, count: found.length });
    if (argsz < needed || found.length === 0) return { payload: [info] };
    const isPorts = this.#function.bars.some((bar) => bar.index === index && bar.kind === 'io');
    const parts = found.map(({ offset, width, value }, fd_index) =>
      vfio_user_sub_region_ioeventfd.encode({
        offset: BigInt(offset),
        size: BigInt(width),
        fd_index,
        type: ioFdType.IOEVENTFD,
        flags: ioEventFlag.DATAMATCH | (isPorts ? ioEventFlag.PIO : 0),
        datamatch: BigInt(value),
      }),
    );
    return { payload: [info, ...parts], descriptors: this.#eventsOf(index, found) };
  }

  /** The client is gone. */
  clear(): void {
    for (const stop of this.#stops.splice(0)) stop();
    for (const events of this.#events.values()) for (const event of events) event.close();
    this.#events.clear();
  }

  #eventsOf(index: number, notifications: readonly VfioNotification[]): readonly Descriptor[] {
    const known = this.#events.get(index);
    if (known !== undefined) return known;
    const events: Descriptor[] = [];
    this.#events.set(index, events);
    try {
      for (const notification of notifications) events.push(this.#eventFor(notification));
    } catch (error) {
      this.clear();
      throw error;
    }
    return events;
  }

  #eventFor({ bar, offset, width, value }: VfioNotification): Descriptor {
    const event = this.#host.createEvent();
    try {
      const happened = (): void => this.#function.regionWrite(bar, offset, width, value);
      this.#stops.push(this.#host.watch(event, happened));
    } catch (error) {
      event.close();
      throw error;
    }
    return event;
  }
}
