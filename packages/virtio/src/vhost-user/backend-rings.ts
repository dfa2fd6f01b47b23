import type { Descriptor, EventHost } from '../channel/descriptors.ts';
import type { QueueWatch } from '../device/active-queue.ts';
import type { DeviceCore } from '../device/core.ts';
import { featuresMistake, queueSizes } from '../device/offer.ts';
import { holdQueue, startQueue, stopQueue } from '../device/queue-control.ts';
import { PeerError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { FeatureSet, featureWords, reservedFeatures } from '../spec/features.ts';
import { status } from '../spec/status.ts';
import type { Chain } from '../virtqueue/chain.ts';
import { ringAreas } from '../virtqueue/create.ts';
import { PvirtqDesc, pvirtqDescFlags } from '../virtqueue/packed/layout.ts';
import type { DeviceQueueState, QueueAreas } from '../virtqueue/queue.ts';
import type { DirtyLog } from './dirty-log.ts';
import type { InflightMemory } from './inflight.ts';
import type { LentMemory } from './lent-memory.ts';
import { bad } from './message-stream.ts';
import { logAllBit, protocolFeaturesBit, vringFlags } from './protocol.ts';
import { type InBandName, type KickSource, Vring } from './vring.ts';

/** The queues of a device as a front end runs them, and what the driver has accepted. */
export class BackendRings {
  readonly #core: DeviceCore;
  readonly #lent: LentMemory;
  readonly #events: EventHost;
  readonly #poll: ((look: () => void) => () => void) | undefined;
  readonly #rings: readonly Vring[];
  /** The sizes of its queues, whatever is negotiated. */
  readonly #most: readonly (number | undefined)[];
  #features = FeatureSet.empty;
  #logsWrites = false;
  #inflight: InflightMemory | undefined;
  #log: DirtyLog | undefined;
  #logEvent: Descriptor | undefined;
  #closed = false;

  constructor(
    core: DeviceCore,
    lent: LentMemory,
    events: EventHost,
    poll: ((look: () => void) => () => void) | undefined,
    inBand: (index: number, name: InBandName) => void,
  ) {
    this.#core = core;
    this.#lent = lent;
    this.#events = events;
    this.#poll = poll;
    this.#most = queueSizes(core.device);
    this.#rings = Array.from(
      { length: core.adminQueueIndex },
      (_, index) => new Vring(index, events, (name) => inBand(index, name)),
    );
  }

  /** How many there are, whether the front end uses them or not. */
  get count(): number {
    return this.#rings.length;
  }

  /** True while no queue is live: the device is suspended, and says and writes nothing. */
  get areStopped(): boolean {
    return !this.#rings.some((ring) => ring.live);
  }

  /** True when the driver has accepted VIRTIO_F_RING_PACKED. */
  get packed(): boolean {
    return this.#features.has(reservedFeatures.RING_PACKED);
  }

  /**
   * @throws {PeerError} BAD_MESSAGE when the device has no such queue.
   */
  ring(index: number): Vring {
    const ring = this.#rings[index];
    // Front ends set some of a queue up before they say by which features it is there.
    if (ring === undefined || (this.#most[index] ?? 0) === 0) throw bad(`there is no queue ${index}`);
    return ring;
  }

  /**
   * What the driver has accepted, with the two bits that are between the ends of the connection alone. Says what is wrong
   * with it, as in "the driver …": such features are never settled.
   */
  setFeatures(bits: bigint): string | undefined {
    const own = (1n << BigInt(protocolFeaturesBit)) | (1n << BigInt(logAllBit));
    const features = featureSet(bits & ~own);
    const unoffered = features.without(this.#core.offered);
    if (!unoffered.isEmpty()) {
      throw bad(`SET_FEATURES has ${this.#core.device.type.featureNames(unoffered).join(', ')}, not offered`);
    }
    if (!isSame(features, this.#features)) {
      if (!this.areStopped) throw bad('SET_FEATURES changes features while a queue is running');
      // Another driver, or the same one once more.
      if (this.#core.status !== 0) this.#core.reset();
      this.#features = features;
      // Where queues stand may depend on them, and those are set up before the features are settled.
      if (this.#core.status === 0) this.#writeFeatures();
    }
    this.#logsWrites = (bits & (1n << BigInt(logAllBit))) !== 0n;
    this.#logOrNot();
    if ((bits & (1n << BigInt(protocolFeaturesBit))) === 0n) {
      for (const ring of this.#rings) {
        ring.enabled = true;
        this.#update(ring);
      }
    }
    return featuresMistake(this.#core.device.type, features, this.#core.offered, true);
  }

  /** Settles the features; false when they will not do. */
  settle(): boolean {
    const core = this.#core;
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = status;
    if ((core.status & FEATURES_OK) !== 0) return true;
    core.writeStatus(ACKNOWLEDGE);
    core.writeStatus(ACKNOWLEDGE | DRIVER);
    this.#writeFeatures();
    core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    return (core.status & FEATURES_OK) !== 0;
  }

  #writeFeatures(): void {
    for (let word = 0; word < featureWords; word++) {
      this.#core.writeDriverFeatures(word, this.#features.word(word));
    }
  }

  setSize(index: number, size: number): void | Promise<void> {
    return this.#whenStopped(index, 'SET_VRING_NUM', (ring) => {
      const most = this.#core.queues[index]?.maxSize ?? 0;
      if (size === 0 || size > most) {
        throw bad(`queue ${index} is to have ${size} descriptors, where it has ${most} at most`);
      }
      ring.size = size;
    });
  }

  setAddresses(addresses: NonNullable<Vring['addresses']>): void {
    const ring = this.ring(addresses.index);
    const { live, addresses: before } = ring;
    if (live && before !== undefined && !sameAddresses(before, addresses)) {
      throw bad(`SET_VRING_ADDR moves queue ${ring.index} while it is running`);
    }
    ring.addresses = addresses;
    this.#update(ring);
  }

  setBase(index: number, base: number): void | Promise<void> {
    return this.#whenStopped(index, 'SET_VRING_BASE', (ring) => {
      ring.base = base;
    });
  }

  /**
   * Takes the event over. A ring starts here, and not at the first kick: what is in it may wait for one in vain, since
   * its driver has sent that kick to a back end before this one.
   */
  setKick(index: number, event: Descriptor | undefined): void {
    const kick: KickSource = event === undefined ? 'polled' : { event };
    let ring: Vring | undefined;
    try {
      ring = this.ring(index);
      if (kick === 'polled' && this.#poll === undefined) {
        throw bad(`queue ${index} is to be polled, which this back end cannot`);
      }
      ring.setKick(kick);
      if (ring.live) this.#watch(ring);
      else this.#update(ring);
    } catch (error) {
      ring?.setKick(undefined);
      event?.close();
      throw error;
    }
  }

  /** A kick came as a message: it starts a ring that is stopped. */
  kicked(index: number): void {
    const ring = this.ring(index);
    if (ring.live) this.#core.notify(index);
    else if (!ring.started) {
      ring.setKick('messages');
      this.#update(ring);
    }
  }

  enable(index: number, value: number): void {
    if (value > 1) throw bad(`SET_VRING_ENABLE has ${value}`);
    const ring = this.ring(index);
    ring.enabled = value === 1;
    this.#update(ring);
  }

  /** Stops a ring, behind what it has taken; gives where it would go on, as SET_VRING_BASE takes it. */
  async stop(index: number): Promise<number> {
    const ring = this.ring(index);
    ring.setKick(undefined);
    if (!ring.live) return ring.base;
    const state = await stopQueue(this.#core, index);
    ring.live = false;
    if (state !== undefined) {
      this.#inflight?.forget(index);
      ring.base = this.#core.negotiated('RING_PACKED') ? packedBase(state) : state.nextAvailable;
    }
    ring.stoppedAt = ring.base;
    return ring.base;
  }

  /** Runs a change that nothing may be in flight for. The rings go on after it. */
  quietly(change: () => void): void | Promise<void> {
    if (this.areStopped) change();
    else return this.#quietly(change);
  }

  /** The device is as at first, and so are its rings, but for the events that they signal. */
  reset(): void {
    this.#core.reset();
    this.#features = FeatureSet.empty;
    for (const ring of this.#rings) {
      ring.setKick(undefined);
      ring.live = false;
      ring.enabled = false;
      ring.base = 0;
      ring.stoppedAt = undefined;
    }
  }

  /** The device is given another state: that a ring goes on elsewhere now says nothing about its driver. */
  forgetStops(): void {
    for (const ring of this.#rings) ring.stoppedAt = undefined;
  }

  /** Takes over the memory for what is in flight. */
  setInflight(memory: InflightMemory): void {
    if (!this.areStopped) {
      memory.close();
      throw bad('SET_INFLIGHT_FD comes while a queue is running');
    }
    this.#inflight?.close();
    this.#inflight = memory;
  }

  /** Takes a log over, in place of the one that is there. */
  setLog(log: DirtyLog): void {
    this.#log?.close();
    this.#log = log;
    this.#logOrNot();
  }

  /** Takes over what to signal after something was logged. */
  setLogEvent(event: Descriptor): void {
    this.#logEvent?.close();
    this.#logEvent = event;
  }

  /** Whoever may have waited in vain looks again. */
  signalAllCalls(): void {
    for (const ring of this.#rings) if (ring.live) ring.signalCall();
  }

  signalCall(index: number): void {
    this.#rings[index]?.signalCall();
  }

  /** The device cannot go on. */
  signalErr(): void {
    for (const ring of this.#rings) ring.signalErr();
  }

  /** Gives everything back. The device must be let go of before. */
  close(): void {
    this.#closed = true;
    for (const ring of this.#rings) ring.reset();
    this.#lent.memory.onDeviceWrite = undefined;
    this.#inflight?.close();
    this.#log?.close();
    this.#logEvent?.close();
  }

  /**
   * Changes a ring that is stopped. One that is disabled is stopped for it: user-mode Linux has no other way to say that
   * a driver let go of it.
   */
  #whenStopped(index: number, message: string, change: (ring: Vring) => void): void | Promise<void> {
    const ring = this.ring(index);
    if (!ring.live) return change(ring);
    if (ring.enabled) throw bad(`${message} comes while queue ${index} is running`);
    return this.stop(index).then(() => change(ring));
  }

  /** Lets a ring run or not, as it is said to be. */
  #update(ring: Vring): void {
    if (ring.live) holdQueue(this.#core, ring.index, !ring.enabled);
    else if (ring.started && ring.enabled && ring.size > 0 && ring.addresses !== undefined)
      this.#goLive(ring);
  }

  #goLive(ring: Vring): void {
    const core = this.#core;
    this.#begin();
    const areas = this.#areasOf(ring);
    const watch = new RingWatch(() => this.#logUsed(ring, areas));
    const state = this.#startOf(ring, areas, watch);
    Object.assign(core.queues[ring.index] ?? {}, areas);
    // Before it starts, since the event may be none.
    this.#watch(ring);
    startQueue(core, ring.index, state, watch);
    ring.stoppedAt = undefined;
    ring.live = true;
    core.notify(ring.index);
  }

  /** The first ring of a driver: it uses the device from here on. */
  #begin(): void {
    const core = this.#core;
    // Nothing but a reset helps a device that gave up, and the front end may know no way to ask for one.
    const gaveUp = (core.status & status.DEVICE_NEEDS_RESET) !== 0;
    if (this.areStopped && (gaveUp || this.#isAnotherDriver)) {
      core.reset();
      this.forgetStops();
    }
    if (!this.settle()) throw bad('the driver cannot use the device with the features that it accepted');
    core.writeStatus(core.status | status.DRIVER_OK);
  }

  /** A ring that begins elsewhere than where it stopped is new: the guest has started anew, and nobody says so. */
  get #isAnotherDriver(): boolean {
    return this.#rings.some(({ base, stoppedAt }) => stoppedAt !== undefined && base !== stoppedAt);
  }

  #watch(ring: Vring): void {
    ring.watch(
      () => this.#core.notify(ring.index),
      (look) => this.#poll?.(look) ?? (() => {}),
    );
  }

  #areasOf({ index, size, addresses }: Vring): QueueAreas {
    const inGuest = (user: bigint = 0n): number => {
      const address = this.#lent.guestAddress(user);
      if (address === undefined)
        throw bad(`queue ${index} has a part at 0x${user.toString(16)}, not in memory`);
      return address;
    };
    return {
      size,
      descriptor: inGuest(addresses?.desc_user_addr),
      driver: inGuest(addresses?.avail_user_addr),
      device: inGuest(addresses?.used_user_addr),
    };
  }

  /** Where a ring begins: told by the front end, or by what was kept of a life before. */
  #startOf(ring: Vring, areas: QueueAreas, watch: RingWatch): DeviceQueueState {
    const { index } = ring;
    const packed = this.#core.negotiated('RING_PACKED');
    const base = packed && isNew(ring, this.#lent.memory, areas) ? firstPackedBase : ring.base;
    const used = packed ? base >>> 16 : usedIndex(this.#lent.memory, areas);
    if (this.#inflight === undefined) return stateAt(index, base, used, packed, areas.size);
    const recovered = this.#inflight.recover(index, this.#lent.memory, areas, used);
    if (recovered instanceof PeerError) throw recovered;
    watch.inflight = recovered.watch;
    return recovered.state;
  }

  #logOrNot(): void {
    const log = this.#logsWrites ? this.#log : undefined;
    this.#lent.memory.onDeviceWrite =
      log && ((region, offset, length) => log.mark(region.start + offset, length));
  }

  #logUsed({ addresses }: Vring, { size, descriptor }: QueueAreas): void {
    if (this.#log === undefined || addresses === undefined || !this.#logsWrites) return;
    if ((addresses.flags & vringFlags.LOG) !== 0) {
      const packed = this.#core.negotiated('RING_PACKED');
      this.#log.mark(Number(addresses.log_guest_addr), ringAreas(size, { packed }).device.length);
      // What is used stands in the descriptors themselves.
      if (packed) this.#log.mark(descriptor, 16 * size);
    }
    if (this.#logEvent !== undefined) this.#events.signal(this.#logEvent);
  }

  async #quietly(change: () => void): Promise<void> {
    const live = this.#rings.filter((ring) => ring.live);
    for (const ring of live) holdQueue(this.#core, ring.index, true);
    await this.#core.idle();
    if (this.#closed) return;
    try {
      change();
    } finally {
      for (const ring of live) holdQueue(this.#core, ring.index, !ring.enabled);
    }
  }
}

/** What happens to the buffers of one ring, for those who keep track of it. */
class RingWatch implements QueueWatch {
  inflight: QueueWatch | undefined;
  readonly #logUsed: () => void;

  constructor(logUsed: () => void) {
    this.#logUsed = logUsed;
  }

  taken(chain: Chain): void {
    this.inflight?.taken(chain);
  }

  untaken(chain: Chain): void {
    this.inflight?.untaken(chain);
  }

  completed(chain: Chain): void {
    this.inflight?.completed(chain);
  }

  published(): void {
    this.inflight?.published();
    this.#logUsed();
  }
}

function featureSet(bits: bigint): FeatureSet {
  return FeatureSet.fromWords([Number(bits & 0xffff_ffffn), Number(bits >> 32n)]);
}

function isSame(one: FeatureSet, other: FeatureSet): boolean {
  return one.without(other).isEmpty() && other.without(one).isEmpty();
}

function sameAddresses(
  one: NonNullable<Vring['addresses']>,
  other: NonNullable<Vring['addresses']>,
): boolean {
  return (
    one.desc_user_addr === other.desc_user_addr &&
    one.avail_user_addr === other.avail_user_addr &&
    one.used_user_addr === other.used_user_addr
  );
}

/** The base of a packed ring that nobody has used: both places are its beginning, with wrap counters of 1. */
const firstPackedBase = 0x8000_8000;

/**
 * True for a packed ring that begins, though its base says that both wrap counters are 0: user-mode Linux sets the base of
 * any new ring to 0. In one that went round before, the first descriptor has been used.
 */
function isNew({ base, stoppedAt }: Vring, memory: GuestMemory, { descriptor }: QueueAreas): boolean {
  if (base !== 0 || stoppedAt === 0 || !memory.contains(descriptor, 16)) return false;
  const first = PvirtqDesc.read(new DataView(memory.read(descriptor, 16).buffer));
  return (first.flags & pvirtqDescFlags.USED) === 0;
}

/** The used index stands in the ring, and in no message. */
function usedIndex(memory: GuestMemory, { device }: QueueAreas): number {
  if (!memory.contains(device, 4)) throw bad('a used ring is not in memory');
  return new DataView(memory.read(device, 4).buffer).getUint16(2, true);
}

/** A base as the two places that it tells of: for a packed ring, each an offset with a wrap counter in bit 15. */
function stateAt(index: number, base: number, used: number, packed: boolean, size: number): DeviceQueueState {
  const available = base & 0xffff;
  if (!packed)
    return { nextAvailable: available, nextUsed: used, availableWrap: 1, usedWrap: 1, inFlight: [] };
  if ((available & 0x7fff) >= size || (used & 0x7fff) >= size) {
    throw bad(`queue ${index} is to begin at 0x${base.toString(16)}, and has ${size} descriptors`);
  }
  return {
    nextAvailable: available & 0x7fff,
    availableWrap: available >>> 15,
    nextUsed: used & 0x7fff,
    usedWrap: used >>> 15,
    inFlight: [],
  };
}

function packedBase({ nextAvailable, availableWrap, nextUsed, usedWrap }: DeviceQueueState): number {
  const place = (offset: number, wrap: number): number => offset | (wrap << 15);
  return ((place(nextUsed, usedWrap) << 16) | place(nextAvailable, availableWrap)) >>> 0;
}
