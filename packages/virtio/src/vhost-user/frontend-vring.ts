import type { Descriptor, DescriptorHost } from '../channel/descriptors.ts';
import { PeerError } from '../errors.ts';
import type { QueueAreas, QueuePosition } from '../virtqueue/queue.ts';
import { userAddress } from './frontend-memory.ts';
import type { FrontEndSession } from './frontend-session.ts';
import { InBandNotifier } from './in-band.ts';
import { vringDescriptor } from './protocol.ts';
import type { InBandName } from './vring.ts';

/** Who hears of a ring. */
export interface VringListener {
  /** Buffers may have been used; `undefined` where nobody is to be told, who looks by himself instead. */
  readonly used: ((index: number) => void) | undefined;
  /** The back end says that it cannot go on with the ring. */
  failed(index: number): void;
}

/** One virtqueue as the messages see it: where it lies, and the events on both sides of it. They outlive a connection. */
export class Vring {
  readonly index: number;
  readonly areas: QueueAreas;
  /** The back end has it, so that it must be stopped. */
  live = false;
  readonly #host: DescriptorHost;
  readonly #packed: boolean;
  readonly #kick: Descriptor;
  readonly #call: Descriptor | undefined;
  readonly #error: Descriptor;
  readonly #events: readonly Descriptor[];
  readonly #watches: (() => void)[] = [];
  readonly #listener: VringListener;
  /** Kicks go as messages. */
  #inBand: InBandNotifier | undefined;

  /** @throws {HostError} IO_ERROR when there are no events. */
  constructor(
    host: DescriptorHost,
    index: number,
    areas: QueueAreas,
    options: { readonly packed: boolean; readonly listener: VringListener },
  ) {
    this.#host = host;
    this.index = index;
    this.areas = areas;
    this.#packed = options.packed;
    this.#listener = options.listener;
    const { used, failed } = options.listener;
    const events: Descriptor[] = [];
    this.#events = events;
    const create = (): Descriptor => {
      const event = host.createEvent();
      events.push(event);
      return event;
    };
    try {
      this.#kick = create();
      this.#call = used && create();
      this.#error = create();
      if (used !== undefined && this.#call !== undefined) {
        this.#watches.push(host.watch(this.#call, () => used(index)));
      }
      this.#watches.push(host.watch(this.#error, () => failed(index)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Tells the back end all of the ring. It starts with the first kick. */
  async setUp(session: FrontEndSession, position?: QueuePosition): Promise<void> {
    const { index, areas } = this;
    const { requests } = session;
    this.live = true;
    await requests.tell('SET_VRING_NUM', { index, num: areas.size });
    await requests.tell('SET_VRING_BASE', { index, num: this.#base(position) });
    await requests.tell('SET_VRING_ADDR', {
      index,
      desc_user_addr: userAddress(areas.descriptor),
      avail_user_addr: userAddress(areas.driver),
      used_user_addr: userAddress(areas.device),
    });
    const u64 = BigInt(index);
    this.#inBand = undefined;
    const isInBand = session.has('INBAND_NOTIFICATIONS');
    if (this.#call === undefined) {
      await requests.tell('SET_VRING_CALL', { u64: u64 | vringDescriptor.NO_DESCRIPTOR });
    } else if (!isInBand) {
      await requests.tell('SET_VRING_CALL', { u64 }, [this.#call]);
    }
    if (isInBand) {
      this.#inBand = new InBandNotifier(() => requests.tell('VRING_KICK', { index, num: 0 }));
      return;
    }
    await requests.tell('SET_VRING_ERR', { u64 }, [this.#error]);
    await requests.tell('SET_VRING_KICK', { u64 }, [this.#kick]);
  }

  /** Lets the back end work on the ring, or not. Without protocol features it is enabled from the start. */
  async enable(session: FrontEndSession, enabled: boolean): Promise<void> {
    const { index } = this;
    if (session.negotiates) await session.requests.tell('SET_VRING_ENABLE', { index, num: enabled ? 1 : 0 });
  }

  /**
   * Takes the ring from the back end, which completes what it has begun first. Gives where another would go on.
   *
   * @throws {PeerError} BAD_RESPONSE when it answers about another ring.
   */
  async stop(session: FrontEndSession): Promise<number> {
    const { index } = this;
    await this.enable(session, false);
    const { value } = await session.requests.ask('GET_VRING_BASE', { index, num: 0 });
    if (value?.index !== index) {
      const error = new PeerError(
        'BAD_RESPONSE',
        `vhost-user: ring ${index} was stopped, not ${value?.index}`,
      );
      session.requests.fail(error);
      throw error;
    }
    this.live = false;
    return value.num;
  }

  /** The back end notifies by a message; false where nobody is to be notified. */
  heard(name: InBandName): boolean {
    const { used, failed } = this.#listener;
    if (name === 'VRING_ERR') failed(this.index);
    else used?.(this.index);
    return name === 'VRING_ERR' || used !== undefined;
  }

  kick(): void {
    if (this.#inBand === undefined) this.#host.signal(this.#kick);
    else this.#inBand.notify();
  }

  close(): void {
    for (const stop of this.#watches.splice(0)) stop();
    for (const event of this.#events) event.close();
  }

  /** A packed ring keeps no indexes of its own in memory, so both are told. Both wrap counters begin with 1. */
  #base({ available, used }: QueuePosition = this.#beginning): number {
    return this.#packed ? (available | (used << 16)) >>> 0 : available;
  }

  get #beginning(): QueuePosition {
    return this.#packed ? { available: 0x8000, used: 0x8000 } : { available: 0, used: 0 };
  }
}
