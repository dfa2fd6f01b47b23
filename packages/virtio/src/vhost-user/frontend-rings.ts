import type { DescriptorHost } from '../channel/descriptors.ts';
import type { SharedRange } from '../channel/shared-memory.ts';
import type { QueueAreas, QueuePosition } from '../virtqueue/queue.ts';
import { InflightMemory } from './frontend-inflight.ts';
import { shareMemory } from './frontend-memory.ts';
import type { FrontEndSession } from './frontend-session.ts';
import { Vring, type VringListener } from './frontend-vring.ts';

/** Where a ring goes on that another back end has used before; `undefined` when none can. */
export type Restart = (index: number, remembers: boolean) => QueuePosition | undefined;

/** All rings of a device, the memory that they lie in, and the memory of what is in flight. They outlive a connection. */
export class FrontEndRings {
  readonly #host: DescriptorHost;
  readonly #ranges: readonly SharedRange[];
  readonly #listener: VringListener;
  readonly #vrings: (Vring | undefined)[] = [];
  #inflight: InflightMemory | undefined;
  /** The back end was given all of it, and has it until `stop`. */
  #started = false;

  constructor(host: DescriptorHost, ranges: readonly SharedRange[], listener: VringListener) {
    this.#host = host;
    this.#ranges = ranges;
    this.#listener = listener;
  }

  get started(): boolean {
    return this.#started;
  }

  at(index: number): Vring | undefined {
    return this.#vrings[index];
  }

  /** A ring that the back end is to be told of, now or with the others. @throws {HostError} IO_ERROR without events. */
  make(index: number, areas: QueueAreas, packed: boolean): Vring {
    const vring = new Vring(this.#host, index, { ...areas }, { packed, listener: this.#listener });
    this.#vrings[index] = vring;
    return vring;
  }

  /** Gives the back end the memory and all rings. They start with `kickAll`. */
  async start(session: FrontEndSession, positions?: ReadonlyMap<number, QueuePosition>): Promise<void> {
    this.#started = true;
    const vrings = this.#vrings.filter((vring) => vring !== undefined);
    if (session.has('INFLIGHT_SHMFD') && vrings.length > 0) {
      const largest = Math.max(...vrings.map(({ areas }) => areas.size));
      this.#inflight ??= await InflightMemory.ask(session, this.#vrings.length, largest);
      await this.#inflight?.give(session);
    }
    await shareMemory(session, this.#ranges);
    for (const vring of vrings) await vring.setUp(session, positions?.get(vring.index));
    for (const vring of vrings) await vring.enable(session, true);
    await session.settle();
  }

  /** The first kick starts a ring. What was made available before it is seen then. */
  kickAll(): void {
    for (const vring of this.#vrings) vring?.kick();
  }

  /** Where each ring goes on with another back end; `undefined` when one cannot. */
  positions(session: FrontEndSession, restart: Restart): Map<number, QueuePosition> | undefined {
    const remembers = this.#inflight !== undefined && session.has('INFLIGHT_SHMFD');
    const positions = new Map<number, QueuePosition>();
    for (const vring of this.#vrings) {
      if (vring?.live !== true) continue;
      const position = restart(vring.index, remembers);
      if (position === undefined) return undefined;
      positions.set(vring.index, position);
    }
    return positions;
  }

  /** Takes all rings from the back end, which completes what it has begun first, and forgets them. */
  async stop(session: FrontEndSession): Promise<void> {
    for (const vring of this.#vrings) if (vring?.live === true) await vring.stop(session);
    this.forget();
  }

  /** Takes one ring from it. */
  async stopOne(session: FrontEndSession, index: number): Promise<void> {
    const vring = this.#vrings[index];
    if (vring?.live === true) await vring.stop(session);
    vring?.close();
    this.#vrings[index] = undefined;
  }

  /** There is no back end that has them. */
  forget(): void {
    for (const vring of this.#vrings.splice(0)) vring?.close();
    this.#inflight?.close();
    this.#inflight = undefined;
    this.#started = false;
  }
}
