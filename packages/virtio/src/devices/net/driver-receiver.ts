import type { Completion, OpenQueue } from '../../driver/queue.ts';
import { PeerError } from '../../errors.ts';
import { ethernetHeader } from '../../link/numbers.ts';
import { readInto } from '../../memory/read-into.ts';
import { netClauses } from './spec.ts';
import { FrameBuffer } from './spec-frame-buffer.ts';
import type { FrameHeader, HeaderRules } from './spec-frame-header.ts';

/** A buffer of a receive queue. */
interface Slot {
  readonly address: number;
  readonly elements: readonly { readonly address: number; readonly length: number }[];
  readonly done: Completion;
  /** Bytes that the device wrote. */
  written: number;
}

/** How a receive queue is used. */
export interface ReceiveRules {
  readonly header: FrameHeader;
  readonly rules: () => HeaderRules;
  /** Buffers, and the bytes of each, the header's among them. */
  readonly buffers: number;
  readonly bufferLength: number;
  /** A frame may be spread over several. */
  readonly mergeable: boolean;
  /** Bytes of the largest frame. */
  readonly largest: number;
}

/** Who is given the frames of a receive queue. */
export interface FrameSink {
  /** The frame is lent until this returns. False when it cannot be taken: it is offered again after `drain`. */
  deliver(frame: Uint8Array, header: FrameHeader): boolean;
  /** A frame was dropped, since its header tells what cannot be. */
  dropped(mistake: string): void;
  /** The device broke a rule that cannot be lived with. */
  fail(error: Error): void;
}

/** Takes frames out of one receive queue. */
export class DriverReceiver {
  readonly #queue: OpenQueue;
  readonly #rules: ReceiveRules;
  readonly #sink: FrameSink;
  readonly #frames: FrameBuffer;
  /** Buffers that the device has filled, oldest first: a ring of as many as there are. */
  readonly #filled: (Slot | undefined)[];
  #first = 0;
  #count = 0;
  #draining = false;

  constructor(queue: OpenQueue, rules: ReceiveRules, sink: FrameSink) {
    this.#queue = queue;
    this.#rules = rules;
    this.#sink = sink;
    this.#frames = new FrameBuffer(rules.largest);
    this.#filled = Array.from({ length: Math.min(rules.buffers, queue.size) }, () => undefined);
  }

  /**
   * Fills the queue with buffers.
   *
   * @spec 5.1.9.3.1 driver: Device Types / Network Device / Device Operation / Setting Up Receive Buffers
   * @spec 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
   */
  start(): void {
    // A device that breaks a rule meanwhile closes the queue.
    for (let i = 0; i < this.#filled.length && !this.#queue.closed; i++) this.#offer(this.#slot());
  }

  /** Hands over what waits, as far as it is taken. */
  drain(): void {
    // What a frame brings about may lead here again: the loop that runs sees it.
    if (this.#draining) return;
    this.#draining = true;
    try {
      while (this.#count > 0 && !this.#queue.closed && this.#deliverOne());
    } catch (error) {
      this.#sink.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#draining = false;
    }
  }

  #slot(): Slot {
    const { bufferLength } = this.#rules;
    const address = this.#queue.allocate(bufferLength);
    const slot: Slot = {
      address,
      elements: [{ address, length: bufferLength }],
      written: 0,
      done: (written, failure) => {
        if (failure !== undefined) return;
        slot.written = written;
        this.#filled[(this.#first + this.#count) % this.#filled.length] = slot;
        this.#count++;
        this.drain();
      },
    };
    return slot;
  }

  #offer(slot: Slot): void {
    this.#queue.submit(nothing, slot.elements, slot.done);
  }

  /** False when the oldest frame is not all there, or nobody takes it. */
  #deliverOne(): boolean {
    const { header, mergeable, rules, largest } = this.#rules;
    const { memory } = this.#queue;
    const head = this.#at(0);
    if (head.written < header.length) throw malformed(`a buffer of ${head.written} bytes, without a header`);
    readInto(memory, head.address, header.bytes);
    const buffers = mergeable ? header.buffers : 1;
    if (buffers === 0 || buffers > this.#filled.length) {
      throw malformed(`a frame that is spread over ${buffers} buffers, of ${this.#filled.length}`);
    }
    if (buffers > this.#count) return false;
    let length = -header.length;
    for (let i = 0; i < buffers; i++) length += this.#at(i).written;
    const mistake = this.#mistakeIn(length, largest) ?? header.decode(length, rules());
    if (mistake !== undefined) {
      this.#release(buffers);
      this.#sink.dropped(mistake);
      return true;
    }
    const frame = this.#frames.view(length);
    this.#gather(frame, buffers);
    if (header.coalesced) header.restore(frame);
    if (!this.#sink.deliver(frame, header)) return false;
    this.#release(buffers);
    return true;
  }

  #mistakeIn(length: number, largest: number): string | undefined {
    if (length < ethernetHeader) return 'is shorter than its Ethernet header';
    return length > largest ? 'is larger than any can be' : undefined;
  }

  #gather(frame: Uint8Array, buffers: number): void {
    const { header } = this.#rules;
    const { memory } = this.#queue;
    const head = this.#at(0);
    if (buffers === 1) {
      readInto(memory, head.address + header.length, frame);
      return;
    }
    let at = 0;
    for (let i = 0; i < buffers; i++) {
      const { address, written } = this.#at(i);
      const skipped = i === 0 ? header.length : 0;
      readInto(memory, address + skipped, frame.subarray(at, at + written - skipped));
      at += written - skipped;
    }
  }

  /** The buffers of a frame go back to the device. */
  #release(buffers: number): void {
    for (let i = 0; i < buffers; i++) {
      const slot = this.#at(0);
      this.#filled[this.#first] = undefined;
      this.#first = (this.#first + 1) % this.#filled.length;
      this.#count--;
      if (!this.#queue.closed) this.#offer(slot);
    }
  }

  #at(index: number): Slot {
    return this.#filled[(this.#first + index) % this.#filled.length]!;
  }
}

const nothing: readonly never[] = [];

const malformed = (what: string): PeerError =>
  new PeerError('BAD_RESPONSE', `the network device gave ${what}`, netClauses.receive);
