import type { Descriptor } from '../channel/descriptors.ts';
import { PeerError } from '../errors.ts';
import type { StructValueOf } from './frontend-requests.ts';
import type { FrontEndSession } from './frontend-session.ts';
import type { VhostUserInflight } from './payloads.ts';

/** Larger than what 256 queues of 32768 descriptors take. */
const mostBytes = 2n ** 30n;

/** What the compilers of most back ends put behind the structure, and they insist on. */
const padding = [0, 0, 0, 0];

/** The memory in which a back end keeps what is in flight: the front end holds it for the next back end. */
export class InflightMemory {
  readonly #descriptor: Descriptor;
  readonly #description: StructValueOf<typeof VhostUserInflight>;

  private constructor(descriptor: Descriptor, description: StructValueOf<typeof VhostUserInflight>) {
    this.#descriptor = descriptor;
    this.#description = description;
  }

  /**
   * Asks the back end to make such memory; `undefined` where it has none to give.
   *
   * @throws {PeerError} BAD_RESPONSE for memory that cannot be.
   */
  static async ask(
    session: FrontEndSession,
    queues: number,
    queueSize: number,
  ): Promise<InflightMemory | undefined> {
    const asked = { num_queues: queues, queue_size: queueSize, padding };
    const { value, descriptor } = await session.requests.ask('GET_INFLIGHT_FD', asked);
    if (descriptor === undefined || value === undefined || value.mmap_size === 0n) {
      descriptor?.close();
      return undefined;
    }
    if (value.mmap_size > mostBytes || value.mmap_offset > mostBytes) {
      descriptor.close();
      throw new PeerError('BAD_RESPONSE', `vhost-user: ${value.mmap_size} bytes for what is in flight`);
    }
    return new InflightMemory(descriptor, { ...value, ...asked });
  }

  /** Hands it to a back end: to the one that made it, or to the next. */
  async give(session: FrontEndSession): Promise<void> {
    await session.requests.tell('SET_INFLIGHT_FD', this.#description, [this.#descriptor]);
  }

  close(): void {
    this.#descriptor.close();
  }
}
