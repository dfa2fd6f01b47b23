import type { ActiveQueue } from '../../device/active-queue.ts';
import { untake } from '../../device/untake.ts';
import { PeerError } from '../../errors.ts';
import type { Link } from '../../link/endpoint.ts';
import { ethernetHeader } from '../../link/numbers.ts';
import { segmentation } from '../../link/offload.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { TxCounters } from './counters.ts';
import type { FrameSealer, FrameSecurity } from './security.ts';
import { largestFrame, netClauses, taggedEthernetHeader } from './spec.ts';
import { FrameBuffer } from './spec-frame-buffer.ts';
import { FrameHeader, type HeaderRules } from './spec-frame-header.ts';
import { headerLength } from './spec-header.ts';
import { hostOffloads } from './spec-offload.ts';
import type { NetControls, NetSession } from './state.ts';

/** Frames that are taken of one queue before others have their turn. */
const mostAtOnce = 256;

/** Sends the driver's frames into the link. */
export class Transmitter {
  /** Of each transmit queue. */
  readonly counters: readonly TxCounters[];
  readonly #controls: NetControls;
  readonly #queues: (ActiveQueue | undefined)[] = [];
  /** Every frame is copied once: its driver may change it while somebody looks at it. */
  readonly #frames = new FrameBuffer(largestFrame);
  #link: Link | undefined;
  #session: NetSession | undefined;
  #header = new FrameHeader(0, 'little');
  #rules: HeaderRules = noRules;
  /** Bytes of the largest frame that is not to be cut. */
  #largest = largestFrame;
  /** The link has no room, and will say when it has. */
  #blocked = false;
  /** A frame is on its way: what happens within may lead here again. */
  #sending = false;
  #complaints = new Set<string>();
  readonly #security: FrameSecurity | undefined;
  /** IPsec was negotiated. */
  #secures = false;
  /** By queue. */
  readonly #sealers: (FrameSealer | undefined)[] = [];

  /** For so many transmit queues. */
  constructor(queues: number, controls: NetControls, security: FrameSecurity | undefined) {
    this.#security = security;
    this.counters = Array.from({ length: queues }, () => new TxCounters());
    this.#controls = controls;
  }

  attached(link: Link): void {
    this.#link = link;
  }

  begin(session: NetSession): void {
    const has: NetSession['has'] = (feature) => session.has(feature);
    const { legacy } = session;
    this.#session = session;
    this.#header = new FrameHeader(headerLength(has, legacy !== undefined), session.endian);
    this.#rules = {
      allowed: hostOffloads(has, legacy?.has('GSO')),
      exactLength: has('GUEST_HDRLEN'),
      fromDevice: false,
      coalesced: false,
    };
    this.#largest = has('MTU') ? this.#controls.config.mtu + taggedEthernetHeader : largestFrame;
    this.#complaints = new Set();
    this.#secures = has('IPSEC');
  }

  reset(): void {
    this.#session = undefined;
    this.#queues.length = 0;
    this.#sealers.length = 0;
  }

  resetQueue(number: number): void {
    this.#queues[number] = undefined;
    this.#sealers[number] = undefined;
  }

  /** Frames may have become available. */
  available(queue: ActiveQueue): void {
    this.#queues[queue.number] = queue;
    const counters = this.counters[queue.number];
    if (counters === undefined) return;
    counters.notifications++;
    if (!this.#blocked) this.#drain(queue, counters);
  }

  /** The link has room again. */
  room(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    for (const queue of this.#queues) queue?.processLater();
  }

  #drain(queue: ActiveQueue, counters: TxCounters): void {
    if (this.#sending) {
      queue.processLater();
      return;
    }
    this.#sending = true;
    this.#link?.more?.(true);
    let taken = 0;
    try {
      for (; taken < mostAtOnce; taken++) {
        const chain = queue.take();
        if (chain === undefined) break;
        if (!this.#send(queue, chain, counters)) {
          this.#blocked = true;
          untake(queue, chain);
          break;
        }
        // Of what was not all sent, as the link went down, nothing is left.
        this.#sealers[queue.number]?.forget();
        queue.complete(chain);
      }
    } finally {
      this.#link?.more?.(false);
      this.#sending = false;
    }
    if (taken === mostAtOnce) queue.processLater();
  }

  /**
   * Sends one frame; false when the link has no room for it. One that cannot be what it says is dropped.
   *
   * @spec 5.1.9.2.2 device: Device Types / Network Device / Device Operation / Packet Transmission
   */
  #send(queue: ActiveQueue, chain: Chain, counters: TxCounters): boolean {
    const header = this.#header;
    const { readable } = chain;
    if (chain.writable.length > 0) {
      throw new PeerError('BAD_REQUEST', `a device-writable buffer was put in ${queue.label}`);
    }
    const length = readable.length - header.length;
    if (length < ethernetHeader) return this.#drop(counters, 'is shorter than its headers');
    if (length > largestFrame) return this.#drop(counters, 'is larger than any can be');
    readable.readInto(header.bytes);
    const mistake = header.decode(length, this.#rules);
    if (mistake !== undefined) return this.#drop(counters, mistake);
    const { offload } = header;
    const isSegmented = offload.segmentation !== segmentation.NONE;
    if (!isSegmented && length > this.#largest) return this.#drop(counters, 'is larger than the MTU');
    const link = this.#link;
    if (link?.up !== true) {
      counters.drops++;
      return true;
    }
    const frame = this.#frames.view(length);
    readable.readInto(frame);
    this.#controls.steering.sent?.(frame, queue.number);
    if (this.#secures && header.secured) {
      const sent = this.#seal(queue.number, frame, link);
      if (typeof sent === 'string') return this.#drop(counters, sent);
      if (!sent) return false;
    } else if (!link.send(frame, offload)) return false;
    counters.packets++;
    counters.bytes += length;
    if (offload.needsChecksum) counters.needsChecksum++;
    if (isSegmented) {
      counters.gsoPackets++;
      counters.gsoBytes += length;
    }
    return true;
  }

  /** Sends a frame through IPsec; false when the link has no room for all of it. Says what cannot be. */
  #seal(queue: number, frame: Uint8Array, link: Link): boolean | string {
    const sealer = this.#sealers[queue] ?? this.#security?.sealer();
    if (sealer === undefined) return 'is for IPsec, which is not there';
    this.#sealers[queue] = sealer;
    const { offload, resource, resourceType } = this.#header;
    const mistake = sealer.pending ? undefined : sealer.begin(frame, offload, resource, resourceType);
    return mistake ?? sealer.send(link);
  }

  #drop(counters: TxCounters, mistake: string): true {
    counters.drops++;
    counters.malformed++;
    // Once for each kind is enough: there may be a thousand a second.
    if (!this.#complaints.has(mistake)) {
      this.#complaints.add(mistake);
      this.#session?.violation(`a frame of the driver's ${mistake}: it is dropped`, netClauses.transmit);
    }
    return true;
  }
}

const noRules: HeaderRules = {
  allowed: hostOffloads(() => false),
  exactLength: false,
  fromDevice: false,
  coalesced: false,
};
