import type { NotificationListener, Transport } from '../../driver/transport.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { Configuration } from '../matrix.ts';
import { RawBytes } from '../raw/bytes.ts';
import { AVAIL, USED } from '../raw/packed-ring.ts';
import { WRITE } from '../raw/ring.ts';
import { TransportProxy } from '../transport-proxy.ts';

/** One answer to the first buffer of a queue, written to the ring by hand. */
export type RingAnswer = (ring: RingUnderAttack) => void;

/** The device's end of a ring, for one who writes there what he likes. */
export interface RingUnderAttack {
  readonly size: number;
  /** The id of the buffer that the driver offered last. */
  readonly id: number;
  /** Uses a buffer: the next entry of the used ring, or the next used descriptor. */
  use(id: number, written: number): void;
  /** Split: moves the used index by so many more. */
  jump(by: number): void;
}

/** A device that is sound but for what it writes into its rings. */
export class SpoiltRing extends TransportProxy {
  readonly #answer: RingAnswer;
  readonly #configuration: Configuration;
  readonly #areas = new Map<number, QueueAreas>();
  readonly #used = new Map<number, number>();
  #listener: NotificationListener | undefined;

  constructor(inner: Transport, configuration: Configuration, answer: RingAnswer) {
    super(inner);
    this.#configuration = configuration;
    this.#answer = answer;
  }

  override enableQueue(index: number, areas: QueueAreas): Promise<void> {
    this.#areas.set(index, areas);
    this.#used.set(index, 0);
    return super.enableQueue(index, areas);
  }

  override listen(listener: NotificationListener | undefined): void {
    this.#listener = listener;
    super.listen(listener);
  }

  /** The sound device never hears of it. */
  override kick(index: number): void {
    const areas = this.#areas.get(index);
    if (areas === undefined) return;
    this.#answer(this.#configuration.packed ? this.#packed(index, areas) : this.#split(index, areas));
    void Promise.resolve().then(() => this.#listener?.usedBuffer(index));
  }

  #split(index: number, { size, driver, device }: QueueAreas): RingUnderAttack {
    const bytes = new RawBytes(this.memory, this.legacy?.endian);
    const available = bytes.get16(driver + 2);
    return {
      size,
      id: bytes.get16(driver + 4 + 2 * ((available - 1) & (size - 1))),
      use: (id, written) => {
        const at = this.#used.get(index) ?? 0;
        bytes.set32(device + 4 + 8 * (at & (size - 1)), id);
        bytes.set32(device + 8 + 8 * (at & (size - 1)), written);
        this.#used.set(index, at + 1);
        bytes.set16(device + 2, at + 1);
      },
      jump: (by) => bytes.set16(device + 2, (this.#used.get(index) ?? 0) + by),
    };
  }

  /** Each buffer is answered where it stands, within the first lap. */
  #packed(index: number, { size, descriptor }: QueueAreas): RingUnderAttack {
    const bytes = new RawBytes(this.memory);
    const idAt = (offset: number): number => bytes.get16(descriptor + 16 * (offset % size) + 12);
    const at = this.#used.get(index) ?? 0;
    return {
      size,
      id: idAt(at),
      use: (id, written) => {
        const offset = this.#used.get(index) ?? 0;
        const place = descriptor + 16 * (offset % size);
        bytes.set32(place + 8, written);
        bytes.set16(place + 12, id);
        // Without WRITE the length would mean nothing.
        bytes.set16(place + 14, AVAIL | USED | WRITE);
        this.#used.set(index, offset + 1);
      },
      jump: () => {},
    };
  }
}
