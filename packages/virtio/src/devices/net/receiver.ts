import type { ActiveQueue } from '../../device/active-queue.ts';
import { untake } from '../../device/untake.ts';
import { PeerError } from '../../errors.ts';
import { networkOffset } from '../../link/headers.ts';
import { type Offload, segmentation } from '../../link/offload.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { RxCounters } from './counters.ts';
import type { SecuredFrame } from './security.ts';
import { netClauses } from './spec.ts';
import { FrameHeader } from './spec-frame-header.ts';
import { headerLength } from './spec-header.ts';
import type { NetControls, NetSession } from './state.ts';
import { noQueue } from './steering.ts';

/** What became of a frame. */
type Outcome = 'taken' | 'dropped' | 'waits';

/** Puts frames from the link into the driver's buffers. */
export class Receiver {
  /** Of each receive queue. */
  readonly counters: readonly RxCounters[];
  readonly #controls: NetControls;
  readonly #queues: (ActiveQueue | undefined)[] = [];
  #session: NetSession | undefined;
  #header = new FrameHeader(0, 'little');
  #mergeable = false;
  #reportsHash = false;
  #tellsNetwork = false;
  #tellsCoalesced = false;
  #tellsSecurity = false;
  /** A frame was refused, since there was no buffer for it. */
  #refused = false;
  #complained = false;
  /** What `#work` works on: it is made once, and a batch gives it nothing. */
  #queue: ActiveQueue | undefined;
  #frame: Uint8Array = new Uint8Array();
  #offload: Offload | undefined;
  #secured: SecuredFrame | undefined;
  #outcome: Outcome = 'dropped';
  readonly #work = (): void => {
    this.#outcome = this.#deliver();
  };
  /** Buffers that one frame is spread over. */
  readonly #chains: Chain[] = [];

  /** For so many receive queues. */
  constructor(queues: number, controls: NetControls) {
    this.counters = Array.from({ length: queues }, () => new RxCounters());
    this.#controls = controls;
  }

  begin(session: NetSession): void {
    const has: NetSession['has'] = (feature) => session.has(feature);
    this.#session = session;
    this.#header = new FrameHeader(headerLength(has, session.legacy !== undefined), session.endian);
    this.#mergeable = has('MRG_RXBUF');
    this.#reportsHash = has('HASH_REPORT');
    this.#tellsNetwork = has('OUT_NET_HEADER');
    this.#tellsCoalesced = has('RSC_EXT');
    this.#tellsSecurity = has('IPSEC');
    this.#complained = false;
  }

  /** True when a frame was refused and may be offered again. */
  reset(): boolean {
    this.#session = undefined;
    this.#queues.length = 0;
    return this.#takeRefused();
  }

  /** True when a frame was refused and may be offered again: it is lost now. */
  resetQueue(number: number): boolean {
    this.#queues[number] = undefined;
    return this.#takeRefused();
  }

  /** Buffers may have become available; true when a frame was refused and may be offered again. */
  available(queue: ActiveQueue): boolean {
    this.#queues[queue.number] = queue;
    const counters = this.counters[queue.number];
    if (counters !== undefined) counters.notifications++;
    return this.#takeRefused();
  }

  /**
   * Puts a frame into the buffers of a receive queue. False when there are none, but may be.
   *
   * @spec 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets
   * @spec 5.1.9.3.2 device: Device Types / Network Device / Device Operation / Setting Up Receive Buffers
   */
  receive(frame: Uint8Array, offload: Offload): boolean {
    const { steering, pairs } = this.#controls;
    const wanted = steering.queueFor(frame, offload);
    const isThere = wanted >= 0 && wanted < pairs && this.#queues[wanted]?.held === false;
    if (!isThere && (wanted === noQueue || steering.exact === true)) {
      this.counters[Math.max(wanted, 0)]!.drops++;
      steering.taken?.();
      return true;
    }
    const number = isThere ? wanted : 0;
    const queue = this.#queues[number];
    const counters = this.counters[number];
    // A driver that has set up no queue takes no frames.
    if (queue === undefined || counters === undefined) return true;
    // What the driver does within a notification may bring the next frame while this call is not over.
    const outer = this.#outcome;
    this.#outcome = 'dropped';
    this.#queue = queue;
    const shown = steering.secured;
    this.#secured = shown;
    this.#frame = shown?.frame ?? frame;
    this.#offload = shown?.offload ?? offload;
    const { length } = this.#frame;
    const outcome = this.#run(queue);
    this.#outcome = outer;
    if (outcome === 'waits') {
      this.#refused = true;
      return false;
    }
    steering.taken?.();
    if (outcome === 'dropped') counters.drops++;
    else count(counters, length, shown?.offload ?? offload);
    return true;
  }

  /** Nothing of what fails in a batch is thrown: the frame is lost then. */
  #run(queue: ActiveQueue): Outcome {
    queue.batch(this.#work);
    return this.#outcome;
  }

  #takeRefused(): boolean {
    const refused = this.#refused;
    this.#refused = false;
    return refused;
  }

  #deliver(): Outcome {
    const queue = this.#queue;
    const offload = this.#offload;
    if (queue === undefined || offload === undefined) return 'dropped';
    const header = this.#header;
    header.encode(offload, this.#frame, this.#controls.takes.checksum);
    if (this.#reportsHash) header.setHash(this.#controls.steering.hash, this.#controls.steering.hashReport);
    if (this.#tellsNetwork) header.outerNetwork = networkOffset(this.#frame);
    if (this.#tellsCoalesced && offload.segmentation !== segmentation.NONE) {
      header.setCoalesced(this.#frame.length, offload.segmentSize);
    }
    if (this.#tellsSecurity) {
      const { flags = 0, resource = 0, resourceType = 0 } = this.#secured ?? {};
      header.setSecurity(flags, resource, resourceType);
    }
    return this.#mergeable ? this.#spread(queue) : this.#fill(queue);
  }

  /** One buffer holds all of the frame, or none of it. */
  #fill(queue: ActiveQueue): Outcome {
    const header = this.#header;
    const frame = this.#frame;
    const chain = queue.take();
    if (chain === undefined) return 'waits';
    const { writable } = chain;
    this.#check(queue, chain);
    if (writable.length < header.length + frame.length) {
      untake(queue, chain);
      return this.#overrun(
        `a buffer of ${writable.length} bytes was given where one of ${frame.length} came`,
      );
    }
    header.buffers = 1;
    writable.write(header.bytes);
    writable.write(frame);
    queue.complete(chain);
    return 'taken';
  }

  /** As many buffers as it takes hold the frame, each full but the last. */
  #spread(queue: ActiveQueue): Outcome {
    const header = this.#header;
    const frame = this.#frame;
    const chains = this.#chains;
    const needed = header.length + frame.length;
    let count = 0;
    let room = 0;
    while (room < needed) {
      const chain = queue.take();
      if (chain === undefined) return this.#giveBack(queue, count, room);
      this.#check(queue, chain);
      chains[count++] = chain;
      room += chain.writable.length;
    }
    header.buffers = count;
    chains[0]!.writable.write(header.bytes);
    let at = chains[0]!.writable.write(frame);
    for (let i = 1; i < count; i++) at += chains[i]!.writable.write(frame.subarray(at));
    for (let i = 0; i < count; i++) queue.complete(chains[i]!);
    return 'taken';
  }

  /** There are too few buffers: those that were taken go back, the last one first. */
  #giveBack(queue: ActiveQueue, count: number, room: number): Outcome {
    if (!queue.live) return 'dropped';
    for (let i = count - 1; i >= 0; i--) untake(queue, this.#chains[i]!);
    // With as many as the queue holds, more will not come.
    if (count < queue.size) return 'waits';
    return this.#overrun(`all buffers hold ${room} bytes together, where ${this.#frame.length} came`);
  }

  #overrun(what: string): Outcome {
    const counters = this.counters[this.#queue?.number ?? 0];
    if (counters !== undefined) counters.overruns++;
    // Once is enough: there may be a thousand a second.
    if (!this.#complained) this.#session?.violation(what, netClauses.buffers);
    this.#complained = true;
    return 'dropped';
  }

  #check(queue: ActiveQueue, { readable, writable }: Chain): void {
    if (readable.length > 0) {
      throw new PeerError('BAD_REQUEST', `a device-readable buffer was put in ${queue.label}`);
    }
    if (writable.length < this.#header.length) {
      throw new PeerError(
        'BAD_REQUEST',
        `a buffer of ${writable.length} bytes in ${queue.label}, where a header has ${this.#header.length}`,
        netClauses.buffers,
      );
    }
  }
}

function count(counters: RxCounters, length: number, offload: Offload): void {
  counters.packets++;
  counters.bytes += length;
  if (offload.needsChecksum) counters.needsChecksum++;
  else if (offload.checksumValid) counters.checksumValid++;
  if (offload.segmentation === segmentation.NONE) return;
  counters.gsoPackets++;
  counters.gsoBytes += length;
}
