import type { ActiveQueue, Moderation } from '../../device/active-queue.ts';
import type { Json } from '../../device/json.ts';
import type { ReadableCursor } from '../../virtqueue/readable-cursor.ts';
import type { ControlClass } from './control.ts';
import { fieldsOf, isList } from './rss.ts';
import { coalescingCommand, virtio_net_ctrl_coal } from './spec-control.ts';
import type { NetSession } from './state.ts';

/** Calls `due` once, after so many microseconds or somewhat later; what it returns takes that back. */
export type NetTimer = (microseconds: number, due: () => void) => () => void;

/** When a notification is due. */
interface Coalesced {
  readonly packets: number;
  readonly usecs: number;
}

const atOnce: Coalesced = Object.freeze({ packets: 0, usecs: 0 });

/** What is known of one queue. */
interface Held {
  /** What its commands have set, the last one of them. */
  settings: Coalesced;
  /** Packets since the last notification was due, and buffers. */
  packets: number;
  buffers: number;
  /** Takes the timer back, while one runs. */
  cancel: (() => void) | undefined;
  /** The queue that the packets were in. */
  queue: ActiveQueue | undefined;
}

/**
 * Holds back used buffer notifications, so that one is for many packets: each queue counts packets and time from its first
 * packet on. Half a queue of buffers is enough for a notification in any case: else the driver might wait for nothing.
 *
 * @spec 5.1.9.5.10.6 device: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
 */
export class Coalescing implements Moderation {
  readonly #timer: NetTimer;
  /** Of receiveq1, transmitq1, receiveq2 and so on. */
  readonly #queues: readonly Held[];
  /** What was set for all receive queues, and for all transmit queues. */
  readonly #all: [rx: Coalesced, tx: Coalesced] = [atOnce, atOnce];

  /** For so many pairs of queues. */
  constructor(pairs: number, timer: NetTimer) {
    this.#timer = timer;
    this.#queues = Array.from({ length: 2 * pairs }, () => ({
      settings: atOnce,
      packets: 0,
      buffers: 0,
      cancel: undefined,
      queue: undefined,
    }));
  }

  due(queue: ActiveQueue, buffers: number): boolean {
    const held = this.#queues[queue.index];
    if (held === undefined || isAtOnce(held.settings)) return true;
    // A received packet is given back by itself, in one buffer or in several; each that was sent is one.
    held.packets += isReceive(queue.index) ? 1 : buffers;
    held.buffers += buffers;
    held.queue = queue;
    if (this.#isDue(held)) {
      settle(held);
      return true;
    }
    held.cancel ??= this.#timer(held.settings.usecs, () => {
      held.cancel = undefined;
      this.#notify(held);
    });
    return false;
  }

  /** What is in force for a queue, by its index among the virtqueues. */
  of(index: number): Coalesced {
    return this.#queues[index]?.settings ?? atOnce;
  }

  /** Sets it for all receive queues, or all transmit queues. */
  setAll(transmit: boolean, settings: Coalesced): void {
    this.#all[transmit ? 1 : 0] = settings;
    for (let index = transmit ? 1 : 0; index < this.#queues.length; index += 2) this.set(index, settings);
  }

  /** Sets it for one queue; what is due by that is notified at once. */
  set(index: number, settings: Coalesced): void {
    const held = this.#queues[index];
    if (held === undefined) return;
    held.settings = settings;
    if (held.packets === 0) return;
    if (isAtOnce(settings) || this.#isDue(held)) {
      this.#notify(held);
      return;
    }
    held.cancel?.();
    held.cancel = this.#timer(settings.usecs, () => {
      held.cancel = undefined;
      this.#notify(held);
    });
  }

  /** A queue was reset: what is set for all of its kind is in force again. */
  resetQueue(index: number): void {
    const held = this.#queues[index];
    if (held === undefined) return;
    settle(held);
    held.settings = this.#all[isReceive(index) ? 0 : 1];
  }

  reset(): void {
    this.#all.fill(atOnce);
    for (const held of this.#queues) {
      settle(held);
      held.settings = atOnce;
    }
  }

  save(): Json {
    const list = ({ packets, usecs }: Coalesced): Json => [packets, usecs];
    return { all: this.#all.map(list), queues: this.#queues.map(({ settings }) => list(settings)) };
  }

  restore(state: Json): void {
    const { all, queues } = fieldsOf(state) ?? {};
    for (const [transmit, one] of listOf(all).entries()) this.setAll(transmit === 1, settingsOf(one));
    for (const [index, one] of listOf(queues).entries()) this.set(index, settingsOf(one));
  }

  #isDue({ settings, packets, buffers, queue }: Held): boolean {
    return packets >= settings.packets || buffers * 2 >= (queue?.size ?? 0);
  }

  #notify(held: Held): void {
    const { queue } = held;
    settle(held);
    queue?.notify();
  }
}

/** The class NOTF_COAL. */
export const coalescingClass = (coalescing: Coalescing): ControlClass => ({
  requires: ['NOTF_COAL', 'VQ_NOTF_COAL'],
  handle(command, data, session) {
    switch (command) {
      case coalescingCommand.RX_SET:
      case coalescingCommand.TX_SET:
        if (!session.has('NOTF_COAL')) return false;
        coalescing.setAll(command === coalescingCommand.TX_SET, readSettings(data));
        return true;
      case coalescingCommand.VQ_SET:
      case coalescingCommand.VQ_GET: {
        if (!session.has('VQ_NOTF_COAL')) return false;
        const index = data.u16();
        // What is reserved is not looked at.
        data.u16();
        if (!isEnabled(index, session)) return false;
        if (command === coalescingCommand.VQ_SET) {
          coalescing.set(index, readSettings(data));
          return true;
        }
        const { packets, usecs } = coalescing.of(index);
        return virtio_net_ctrl_coal.encode({ max_packets: packets, max_usecs: usecs });
      }
      default:
        return false;
    }
  },
  reset: () => coalescing.reset(),
  save: () => coalescing.save(),
  restore: (state) => coalescing.restore(state),
});

function readSettings(data: ReadableCursor): Coalesced {
  const packets = data.u32();
  return { packets, usecs: data.u32() };
}

/** True for a receive or transmit queue that the driver has enabled. */
function isEnabled(index: number, session: NetSession): boolean {
  const name = isReceive(index) ? 'receiveq' : 'transmitq';
  return session.queue(name, index >>> 1)?.index === index;
}

const isReceive = (index: number): boolean => index % 2 === 0;

/** True when every packet is notified of by itself. */
const isAtOnce = ({ packets, usecs }: Coalesced): boolean => packets === 0 || usecs === 0;

/** Forgets what is held. */
function settle(held: Held): void {
  held.cancel?.();
  held.cancel = undefined;
  held.packets = 0;
  held.buffers = 0;
  held.queue = undefined;
}

const listOf = (state: Json | undefined): readonly Json[] =>
  state !== undefined && state !== null && typeof state === 'object' && isList(state) ? state : [];

function settingsOf(state: Json): Coalesced {
  const [packets, usecs] = listOf(state);
  return typeof packets === 'number' && typeof usecs === 'number' ? { packets, usecs } : atOnce;
}
