import type { Completion, OpenQueue } from '../../driver/queue.ts';
import { UsageError } from '../../errors.ts';
import type { Offload } from '../../link/offload.ts';
import { netResource } from './spec-flow-filter.ts';
import type { FrameHeader } from './spec-frame-header.ts';
import type { FrameSealing } from './spec-frame-sealing.ts';
import { headerFlag } from './spec-header.ts';

/** Room for frames of the link's own size, and for those that are to be cut: few are larger, and they are much larger. */
const smallSlots = 64;
const largeSlots = 4;

/** Bytes in all slots of a queue, when the link's own frames are very large. */
const slotBytes = 2 ** 17;

/** Where a frame lies on its way out. */
interface Slot {
  readonly address: number;
  /** One element, whose length is that of the frame. */
  readonly elements: { address: number; length: number }[];
  readonly done: Completion;
}

/** How a transmit queue is used. */
export interface TransmitRules {
  /** Of frames: two queues may be filled at once, so that each has its own. */
  readonly header: FrameHeader;
  /** Bytes of the largest frame that is not to be cut, and of the largest of all. */
  readonly largest: number;
  readonly largestOfAll: number;
  /** IPsec was negotiated. */
  readonly secures: boolean;
}

/** Sends frames into one transmit queue. */
export class DriverTransmitter {
  readonly #queue: OpenQueue;
  readonly #rules: TransmitRules;
  readonly #onRoom: () => void;
  readonly #free: Slot[] = [];
  readonly #freeLarge: Slot[] = [];
  #large = 0;
  #refused = false;

  /** `onRoom` is called when there is room again after a frame was refused. */
  constructor(queue: OpenQueue, rules: TransmitRules, onRoom: () => void) {
    this.#queue = queue;
    this.#rules = rules;
    this.#onRoom = onRoom;
    const length = rules.header.length + rules.largest;
    const affordable = Math.max(4, Math.floor(slotBytes / length));
    for (let i = 0; i < Math.min(smallSlots, affordable, queue.size); i++)
      this.#free.push(this.#slot(length, this.#free));
  }

  /**
   * Gives a frame to the device; false when there is no room for it.
   *
   * @throws {UsageError} BAD_ARGUMENT for a frame that is too large, BAD_STATE when the queue is closed.
   * @spec 5.1.9.2.1 driver: Device Types / Network Device / Device Operation / Packet Transmission
   */
  send(frame: Uint8Array, offload: Offload, sealing?: FrameSealing): boolean {
    const { header, largest, secures } = this.#rules;
    const slot = frame.length <= largest ? this.#free.pop() : this.#takeLarge(frame.length);
    if (slot === undefined) {
      this.#refused = true;
      return false;
    }
    const { memory } = this.#queue;
    header.encode(offload, frame, false);
    if (secures) {
      if (sealing === undefined) header.setSecurity(0, 0, 0);
      else header.setSecurity(headerFlag.SECURITY, sealing.id, netResource.IPSEC_OUTB_SA);
    }
    memory.write(slot.address, header.bytes);
    memory.write(slot.address + header.length, frame);
    slot.elements[0]!.length = header.length + frame.length;
    this.#queue.submit(slot.elements, nothing, slot.done);
    return true;
  }

  #takeLarge(length: number): Slot | undefined {
    const { header, largestOfAll } = this.#rules;
    if (length > largestOfAll) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `net: a frame of ${length} bytes, where ${largestOfAll} are the most`,
      );
    }
    const slot = this.#freeLarge.pop();
    if (slot !== undefined || this.#large >= Math.min(largeSlots, this.#queue.size)) return slot;
    this.#large++;
    return this.#slot(header.length + largestOfAll, this.#freeLarge);
  }

  #slot(length: number, home: Slot[]): Slot {
    const address = this.#queue.allocate(length);
    const slot: Slot = {
      address,
      elements: [{ address, length }],
      done: (_written, failure) => {
        if (failure !== undefined) return;
        home.push(slot);
        if (!this.#refused) return;
        this.#refused = false;
        this.#onRoom();
      },
    };
    return slot;
  }
}

const nothing: readonly never[] = [];
