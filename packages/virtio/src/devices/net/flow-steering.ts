import { flowOf } from './spec-flow.ts';
import type { Steering } from './steering.ts';

/** Flows that are remembered; those whose hashes meet share a place. A power of two. */
const places = 4096;

/** In a place of which nothing is known. */
const unknown = -1;

/**
 * Automatic receive steering: a flow comes back on the queue on which the driver sends it.
 *
 * @spec 5.1.9.5.6.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode
 */
export class FlowSteering implements Steering {
  readonly hash = 0;
  readonly hashReport = 0;
  readonly #pairs: number;
  readonly #queues: Int32Array = new Int32Array(places).fill(unknown);

  /** For so many pairs of queues. */
  constructor(pairs: number) {
    this.#pairs = pairs;
  }

  queueFor(frame: Uint8Array): number {
    const flow = flowOf(frame);
    const queue = this.#queues[flow & (places - 1)]!;
    return queue === unknown ? flow % this.#pairs : queue;
  }

  sent(frame: Uint8Array, queue: number): void {
    if (queue < this.#pairs) this.#queues[flowOf(frame) & (places - 1)] = queue;
  }
}
