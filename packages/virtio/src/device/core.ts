import { HostError, PeerError, type PeerErrorCode, UsageError, VirtioError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ClauseId } from '../spec/clauses.ts';
import { FeatureSet, type ReservedFeatureName, reservedFeatures } from '../spec/features.ts';
import { status } from '../spec/status.ts';
import type { Chain } from '../virtqueue/chain.ts';
import { chainElements } from '../virtqueue/chain-elements.ts';
import { openDeviceQueue, splitRing } from '../virtqueue/device-ring.ts';
import { RestoredQueue } from '../virtqueue/restored-queue.ts';
import { ActiveQueue, type QueueOwner } from './active-queue.ts';
import { type Administration, adminQueueLabel } from './administration.ts';
import type { ActiveDevice, Device, ServeHandler } from './device.ts';
import type { DeviceHost } from './host.ts';
import type { LegacyInterface } from './legacy.ts';
import { offeredFeatures, queueSetups } from './offer.ts';
import { defaultQueueSetup, type QueueSetup } from './queue-setup.ts';
import type { DeviceState } from './state.ts';
import { checkStatusWrite, type StatusStep } from './status-machine.ts';
import type { Tracer } from './trace.ts';

/** Bytes of buffers that are served before others have their turn: a driver may offer the same gigabytes again and again. */
const mostBytesAtOnce = 64 * 2 ** 20;

const knownStatus = Object.values(status).reduce<number>((all, bit) => all | bit, 0);

/**
 * The rules of all devices: status, negotiation, queue set-up, configuration space, reset, suspend. Every
 * device-side transport drives one through its registers; a device's behaviour is called from here alone.
 */
export class DeviceCore implements QueueOwner {
  readonly device: Device;
  /** The device type's own queues, and behind them the administration virtqueues. */
  readonly queues: readonly QueueSetup[];
  /** The index of the first administration virtqueue: how many queues are the device type's own. */
  readonly adminQueueIndex: number;

  readonly #host: DeviceHost;
  readonly #offered: FeatureSet;
  readonly #administration: Administration | undefined;
  #status = 0;
  #legacy: LegacyInterface | undefined;
  /** A legacy driver uses the device and has not set DRIVER_OK yet. */
  #early = false;
  #driverFeatures = FeatureSet.empty;
  #active: (ActiveQueue | undefined)[] = [];
  #suspending = false;
  /** Saved in the middle of a suspend: what was in flight is taken again first. */
  #suspendAfterResume = false;
  readonly #onConfigUpdate = (values: Readonly<Record<string, unknown>>): void => this.#updateConfig(values);
  #configChanged = false;
  #deferredConfig: Record<string, unknown> | undefined;
  #resets = 0;
  #waitForIdle: (() => void)[] = [];

  /** @throws {UsageError} BAD_STATE when the device is in use by another transport. */
  constructor(device: Device, host: DeviceHost) {
    if (device.onConfigUpdate !== undefined) {
      throw new UsageError('BAD_STATE', `this ${device.type.name} device is attached already`);
    }
    device.onConfigUpdate = this.#onConfigUpdate;
    this.device = device;
    this.#host = host;
    this.#offered = offeredFeatures(device, host);
    this.#legacy = this.#defaultLegacy;
    const own = queueSetups(device);
    this.adminQueueIndex = own.length;
    if (this.#offered.has(reservedFeatures.ADMIN_VQ)) this.#administration = device.administration;
    const { count, size } = this.#administration?.queues ?? { count: 0, size: 0 };
    this.queues = [...own, ...Array.from({ length: count }, () => defaultQueueSetup(size))];
  }

  /** Lets go of the device, so that another transport may have it. */
  detach(): void {
    if (this.#isAnothers) return;
    this.reset();
    this.device.onConfigUpdate = undefined;
  }

  get memory(): GuestMemory {
    return this.#host.memory;
  }

  get trace(): Tracer | undefined {
    return this.#host.trace;
  }

  /** The features that the device offers, through the interface that is in force. */
  get offered(): FeatureSet {
    return this.#legacy?.offered(this.device, this.#offered) ?? this.#offered;
  }

  /** The legacy interface while it is in force. */
  get legacy(): LegacyInterface | undefined {
    return this.#legacy;
  }

  /**
   * The driver reached for the legacy interface of a transitional device: its rules are in force until the next
   * reset. False, having named the mistake, when the driver has begun with the modern one.
   */
  useLegacy(): boolean {
    if (this.#legacy !== undefined) return true;
    const begun = (this.#status & (status.FEATURES_OK | status.DRIVER_OK)) !== 0;
    if (begun)
      this.violation('REGISTER_ACCESS', 'the driver uses the modern and the legacy interface at once');
    else this.#legacy = this.#host.legacy;
    return !begun;
  }

  /** The device status field. */
  get status(): number {
    return this.#status;
  }

  get driverFeatures(): FeatureSet {
    return this.#driverFeatures;
  }

  /** True once FEATURES_OK was accepted and the feature is among those that both sides have. */
  negotiated(feature: ReservedFeatureName): boolean {
    const isSettled = (this.#status & status.FEATURES_OK) !== 0 || this.#legacy !== undefined;
    return isSettled && this.#driverFeatures.has(reservedFeatures[feature]);
  }

  /** A queue that the driver may set up; `undefined` when it is none, or was not negotiated. */
  queue(index: number): QueueSetup | undefined {
    return index < this.adminQueueIndex || this.negotiated('ADMIN_VQ') ? this.queues[index] : undefined;
  }

  /** How often the device was reset: what was begun before the last time is void. */
  get resets(): number {
    return this.#resets;
  }

  /**
   * True from DRIVER_OK to reset, but not while suspended or in need of a reset. With a legacy driver, from its
   * first use of the device.
   */
  get live(): boolean {
    if ((this.#status & status.DEVICE_NEEDS_RESET) !== 0) return false;
    return (this.#status & status.DRIVER_OK) !== 0 || this.#early;
  }

  /**
   * The driver wrote a 32-bit word of its features.
   *
   * @spec 3.1.1 driver: General Initialization And Device Operation / Device Initialization
   */
  writeDriverFeatures(word: number, value: number): void {
    if ((this.#status & (status.FEATURES_OK | status.DRIVER_OK)) !== 0 || this.#early) {
      this.violation('STATUS_SEQUENCE', 'the driver wrote its features after they were settled');
      return;
    }
    this.#driverFeatures = this.#driverFeatures.withWord(word, value);
  }

  /**
   * The driver wrote the device status field: 0 resets, other values complete steps.
   *
   * @spec 2.1.2 device: Basic Facilities of a Virtio Device / Device Status Field
   * @spec 2.4.1 device: Basic Facilities of a Virtio Device / Device Reset
   */
  writeStatus(value: number): void {
    if (value === 0) {
      this.reset();
      return;
    }
    if (this.#isAnothers) return;
    // A transport that let go of a device may be driven again while nobody else has taken it.
    this.device.onConfigUpdate = this.#onConfigUpdate;
    const step =
      this.#legacy?.checkStatusWrite(this.#status, value) ??
      checkStatusWrite(this.#status, value, this.negotiated('SUSPEND'));
    for (const mistake of step.mistakes) this.violation(mistake.code, mistake.message);
    this.#take(step);
    this.trace?.({ kind: 'status', value: this.#status });
  }

  /**
   * A write of the device status field, not 0, where the transport can refuse one: false when it did not take, and
   * the field is as it was. A suspend takes when it has begun.
   */
  tryStatus(value: number): boolean {
    const before = this.#status;
    const { DEVICE_NEEDS_RESET, SUSPEND, DRIVER_OK } = status;
    const cleared = before & ~value & ~(DEVICE_NEEDS_RESET | SUSPEND);
    if (cleared !== 0 || (value & ~knownStatus) !== 0) {
      const message = `status 0x${value.toString(16)} was written where it is 0x${before.toString(16)}`;
      this.violation(cleared === 0 ? 'STATUS_SEQUENCE' : 'STATUS_BIT_CLEARED', message);
      return false;
    }
    this.writeStatus(value);
    const mayBeMissing = this.negotiated('SUSPEND') ? SUSPEND | DRIVER_OK : 0;
    if ((value & ~this.#status & ~DEVICE_NEEDS_RESET & ~mayBeMissing) === 0) return true;
    this.#status = before | (this.#status & DEVICE_NEEDS_RESET);
    return false;
  }

  /**
   * Returns the device to its first state, whatever it was doing. Completions that come later are ignored.
   *
   * @spec 2.4.1 device: Basic Facilities of a Virtio Device / Device Reset
   */
  reset(): void {
    if (this.#isAnothers) return;
    for (const queue of this.#active) queue?.close();
    this.#active = [];
    this.#status = 0;
    this.#legacy = this.#defaultLegacy;
    this.#early = false;
    this.#driverFeatures = FeatureSet.empty;
    this.#suspending = false;
    this.#suspendAfterResume = false;
    this.#configChanged = false;
    this.#resets++;
    for (const setup of this.queues) Object.assign(setup, defaultQueueSetup(setup.maxSize));
    this.#applyDeferredConfig();
    // A device that is reset has no driver to be told that it needs to be.
    this.#guard(() => this.device.behaviour.reset?.(), false);
    this.#administration?.reset();
    this.#tellIdle();
    this.trace?.({ kind: 'reset' });
  }

  /**
   * The driver enabled a queue that it has set up. The queue goes live now, or at DRIVER_OK.
   *
   * @spec 2.6.1.2.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable
   */
  enableQueue(index: number): void {
    const setup = this.queue(index);
    if (setup === undefined || setup.maxSize === 0) {
      this.violation('QUEUE_SIZE_INVALID', `the driver enabled queue ${index}, which does not exist`);
      return;
    }
    if (setup.enabled) return;
    setup.enabled = true;
    if (this.live) this.#open(index);
  }

  /**
   * Resets one queue, when VIRTIO_F_RING_RESET was negotiated.
   *
   * @spec 2.6.1.1.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
   */
  resetQueue(index: number): void {
    const setup = this.queues[index];
    if (setup === undefined) return;
    if (!this.negotiated('RING_RESET')) {
      this.violation('FEATURES_REFUSED', `queue ${index} was reset without VIRTIO_F_RING_RESET`);
      return;
    }
    Object.assign(setup, defaultQueueSetup(setup.maxSize));
    this.#stopQueue(index);
  }

  /** The driver stops using a queue, where a transport lets it: its set-up stays, what was in flight is void. */
  disableQueue(index: number): void {
    const setup = this.queue(index);
    if (setup?.enabled !== true) return;
    setup.enabled = false;
    this.#stopQueue(index);
  }

  /**
   * The driver's available buffer notification.
   *
   * @spec 2.7.10.2 device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
   */
  notify(index: number): void {
    this.trace?.({ kind: 'notify', queue: this.#label(index) });
    if (!this.live && this.#isFirstUse(index)) this.#startEarly();
    if (!this.live) {
      if ((this.#status & (status.DRIVER_OK | status.SUSPEND)) === 0) {
        this.violation('NOTIFICATION_UNEXPECTED', `queue ${index} was notified before DRIVER_OK`);
      }
      return;
    }
    const queue = this.#active[index];
    if (queue === undefined) {
      this.violation('NOTIFICATION_UNEXPECTED', `queue ${index} was notified, and is not enabled`);
      return;
    }
    this.#process(queue);
  }

  /** 1, 2 or 4 bytes of the configuration space, joined little-endian whatever they are to the driver. */
  readConfig(offset: number, width: number): number {
    const { configSpace, type } = this.device;
    return this.#legacy?.readConfig(type, configSpace, offset, width) ?? configSpace.read(offset, width);
  }

  /**
   * The driver wrote 1, 2 or 4 bytes of the configuration space.
   *
   * @spec 3.4.2 device: General Initialization And Device Operation / Device Suspend
   */
  writeConfig(offset: number, width: number, value: number): void {
    if (this.#suspended || this.#isAnothers) return;
    const { configSpace, type } = this.device;
    const written =
      this.#legacy === undefined
        ? configSpace.write(offset, width, value)
        : this.#legacy.writeConfig(type, configSpace, offset, width, value);
    if (written === undefined) {
      this.violation(
        'REGISTER_ACCESS',
        `${width} bytes at ${offset} of the configuration are not the driver's`,
      );
      return;
    }
    this.#guard(() => this.device.behaviour.writeConfig?.(asFieldName(written.field), written.value));
  }

  get configGeneration(): number {
    return this.device.configSpace.generation;
  }

  /**
   * Something cannot go on: sets DEVICE_NEEDS_RESET and tells the driver.
   *
   * @spec 2.1.2 device: Basic Facilities of a Virtio Device / Device Status Field
   */
  needsReset(error: VirtioError): void {
    this.#host.onError?.(error, true);
    if (error instanceof PeerError) this.trace?.({ kind: 'violation', error });
    if ((this.#status & status.DEVICE_NEEDS_RESET) !== 0) return;
    const wasLive = this.live;
    this.#status |= status.DEVICE_NEEDS_RESET;
    this.#tellIdle();
    this.trace?.({ kind: 'status', value: this.#status });
    if (wasLive) this.#interruptConfig();
  }

  /** The driver broke a rule in a way that the device can live with: it is named, and no more. */
  violation(code: PeerErrorCode, message: string, clause?: ClauseId): void {
    const error = new PeerError(code, `${this.device.type.name}: ${message}`, clause);
    this.trace?.({ kind: 'violation', error });
    this.#host.onError?.(error, false);
  }

  /** All that is needed to go on from here in another process. */
  save(): DeviceState {
    return {
      type: this.device.type.id,
      status: this.#status,
      driverFeatures: [0, 1, 2, 3].map((word) => this.#driverFeatures.word(word)),
      config: this.device.configSpace.save(),
      pendingConfig: this.#configChanged,
      ...(this.#legacy === undefined ? {} : { legacy: this.#early ? ('early' as const) : ('used' as const) }),
      ...(this.#suspending || this.#suspendAfterResume ? { suspending: true } : {}),
      queues: this.queues.map((setup, i) => ({ ...setup, ring: this.#active[i]?.ring.save() ?? null })),
      device: this.device.behaviour.save?.() ?? null,
      ...(this.#administration === undefined ? {} : { administration: this.#administration.save() }),
    };
  }

  /**
   * Takes a saved state. Call `resume` when the transport around it is restored as well.
   *
   * @throws {UsageError} BAD_STATE when the state is of another device: the device stays reset.
   */
  restore(state: DeviceState): void {
    this.reset();
    if (state.legacy !== undefined) this.#legacy = this.#host.legacy;
    const features = FeatureSet.fromWords(state.driverFeatures);
    if (
      state.type !== this.device.type.id ||
      state.queues.length !== this.queues.length ||
      (state.legacy !== undefined) !== (this.#legacy !== undefined) ||
      // Until FEATURES_OK a driver may have written what it likes.
      ((state.status & status.FEATURES_OK) !== 0 && !features.without(this.offered).isEmpty())
    ) {
      throw new UsageError('BAD_STATE', `the saved state does not fit this ${this.device.type.name} device`);
    }
    try {
      this.#adopt(state, features);
    } catch (error) {
      // Half a state is worse than none.
      this.reset();
      throw error;
    }
  }

  /**
   * Goes on after a restore, or when memory may be accessed again: looks at every queue, whose notification may have been lost, and notifies the
   * driver of each, whose interrupt may have been.
   */
  resume(): void {
    if (!this.live) return;
    for (const queue of this.#active) {
      if (queue === undefined) continue;
      this.interrupt(queue);
      this.#process(queue);
    }
    this.#flushConfigChange();
    if (!this.#suspendAfterResume || !this.mayTake()) return;
    this.#suspendAfterResume = false;
    this.#suspend();
  }

  /** Settles when no chain is in flight: all that was taken has been completed, or never will be. */
  async idle(): Promise<void> {
    while ((this.#status & status.DEVICE_NEEDS_RESET) === 0 && this.#active.some(hasInFlight)) {
      await new Promise<void>((resolve) => this.#waitForIdle.push(resolve));
    }
  }

  mayTake(): boolean {
    return this.live && !this.#suspending && this.#host.mayAccessMemory?.() !== false;
  }

  taken(queue: ActiveQueue, chain: Chain): void {
    if (this.trace === undefined) return;
    this.trace({
      kind: 'chain',
      queue: queue.label,
      id: chain.id,
      readable: chain.readable.length,
      writable: chain.writable.length,
      elements: chainElements(chain),
    });
  }

  completed(queue: ActiveQueue, chain: Chain): void {
    this.trace?.({ kind: 'complete', queue: queue.label, id: chain.id, written: chain.writable.written });
    const { onDeviceWrite } = this.memory;
    if (onDeviceWrite !== undefined && chain.live) chain.writable.writtenPieces(onDeviceWrite);
    if (this.#suspending) this.#later(() => this.#finishSuspend());
    if (this.#waitForIdle.length > 0) this.#later(() => this.#tellIdle());
  }

  interrupt(queue: ActiveQueue): void {
    this.trace?.({ kind: 'interrupt', queue: queue.label });
    this.#host.interruptQueue(queue.index);
  }

  broke(queue: ActiveQueue): void {
    if (queue.ring.error !== undefined) this.needsReset(queue.ring.error);
  }

  failed(queue: ActiveQueue, error: unknown): void {
    // What was overtaken by a reset fails on a dead chain; nobody waits for it.
    if (queue.live) this.needsReset(asVirtioError(error));
  }

  #adopt(state: DeviceState, features: FeatureSet): void {
    this.#status = state.status;
    this.#driverFeatures = features;
    this.#early = state.legacy === 'early';
    this.#configChanged = state.pendingConfig;
    this.#suspendAfterResume = state.suspending === true;
    this.device.configSpace.restore(state.config);
    for (const [index, { ring, ...setup }] of state.queues.entries()) {
      Object.assign(this.queues[index] ?? {}, setup);
      if (ring !== null) this.#open(index, new RestoredQueue(ring));
    }
    this.device.behaviour.restore?.(state.device);
    this.#administration?.restore(state.administration ?? null);
    if (this.#early || (this.#status & (status.DRIVER_OK | status.SUSPEND)) !== 0) this.#activate();
  }

  get #defaultLegacy(): LegacyInterface | undefined {
    return this.#host.transitional === true ? undefined : this.#host.legacy;
  }

  /** True when this core let go of the device, and another has it. */
  get #isAnothers(): boolean {
    const { onConfigUpdate } = this.device;
    return onConfigUpdate !== undefined && onConfigUpdate !== this.#onConfigUpdate;
  }

  get #suspended(): boolean {
    return (this.#status & status.SUSPEND) !== 0;
  }

  #take(step: StatusStep): void {
    this.#status |= step.set;
    if (step.featuresOk && this.#featuresAcceptable()) this.#status |= status.FEATURES_OK;
    if (step.suspend) this.#suspend();
    if (step.resume) this.#unsuspend();
    if (step.driverOk && (this.#status & status.DEVICE_NEEDS_RESET) === 0) this.#start();
  }

  /**
   * True when the driver's features are a sound subset of what was offered.
   *
   * @spec 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
   * @spec 6.2 device: Reserved Feature Bits
   */
  #featuresAcceptable(): boolean {
    const { type } = this.device;
    const unoffered = this.#driverFeatures.without(this.offered);
    const missing = type.missingRequirements(this.#driverFeatures)[0];
    let refusal: string | undefined;
    let clause: ClauseId | undefined;
    if (!unoffered.isEmpty()) refusal = `accepted ${type.featureNames(unoffered).join(', ')}, not offered`;
    else if (missing !== undefined) refusal = `accepted ${missing.feature} without ${missing.requires}`;
    else if (!this.#driverFeatures.has(reservedFeatures.VERSION_1)) {
      refusal = 'did not accept VERSION_1, bit 32';
      clause = 'driver: Reserved Feature Bits';
    } else refusal = this.#refusal();
    const accepted = type.featureNames(this.#driverFeatures);
    this.trace?.({ kind: 'features', accepted, ok: refusal === undefined });
    if (refusal !== undefined) this.violation('FEATURES_REFUSED', `the driver ${refusal}`, clause);
    return refusal === undefined;
  }

  /** What a legacy driver has accepted holds from its first use of the device: no bit asks whether it may. */
  #settleFeatures(legacy: LegacyInterface): void {
    const { type } = this.device;
    const { features, mistakes } = legacy.soundFeatures(type, this.#driverFeatures, this.offered);
    for (const mistake of mistakes) this.violation('FEATURES_REFUSED', `the driver ${mistake}`);
    this.#driverFeatures = features;
    const refusal = this.#refusal();
    this.trace?.({ kind: 'features', accepted: type.featureNames(features), ok: refusal === undefined });
    if (refusal !== undefined) this.needsReset(new PeerError('FEATURES_REFUSED', `the driver ${refusal}`));
  }

  /** What the device itself has against the driver's features. */
  #refusal(): string | undefined {
    let refusal: string | undefined = 'met a device that failed';
    this.#guard(() => {
      const isLegacy = this.#legacy !== undefined;
      refusal = this.device.behaviour.negotiate?.((name) => this.#accepted(name), isLegacy);
    });
    return refusal;
  }

  #accepted(feature: string): boolean {
    return this.#driverFeatures.has(this.device.type.features[feature] ?? -1);
  }

  #start(): void {
    this.#status |= status.DRIVER_OK;
    if (!this.#early) this.#begin();
    this.#early = false;
  }

  /** A legacy driver may use a queue before it sets DRIVER_OK. */
  #isFirstUse(index: number): boolean {
    const { DRIVER_OK, DEVICE_NEEDS_RESET } = status;
    const mayBegin = (this.#status & (DRIVER_OK | DEVICE_NEEDS_RESET)) === 0;
    return this.#legacy !== undefined && mayBegin && this.queues[index]?.enabled === true;
  }

  #startEarly(): void {
    this.#early = true;
    this.#begin();
  }

  /** The driver uses the device from here on. */
  #begin(): void {
    if (this.#legacy !== undefined) this.#settleFeatures(this.#legacy);
    if (!this.live) return;
    for (const [index, setup] of this.queues.entries()) if (setup.enabled) this.#open(index);
    this.#activate();
    for (const queue of this.#active) if (queue !== undefined) this.#process(queue);
  }

  #activate(): void {
    const { type } = this.device;
    const bitOf = (feature: string): number => type.legacy.features?.[feature] ?? -1;
    const active: ActiveDevice = {
      has: (feature) => this.#accepted(feature),
      memory: this.memory,
      endian: this.#legacy?.endian ?? 'little',
      legacy: this.#legacy && { has: (feature) => this.#driverFeatures.has(bitOf(feature)) },
      queue: (name, number) => this.#active[type.queueIndex(name, number) ?? -1],
    };
    this.#guard(() => this.device.behaviour.activate?.(active));
  }

  #open(index: number, restored?: RestoredQueue): void {
    const setup = this.queues[index];
    if (setup === undefined) return;
    const packed = this.negotiated('RING_PACKED');
    const fits = setup.size > 0 && setup.size <= setup.maxSize;
    const ring = fits
      ? openDeviceQueue(
          (packed ? this.#host.packedRing : undefined) ?? splitRing,
          this.memory,
          setup,
          {
            packed,
            eventIdx: this.negotiated('EVENT_IDX'),
            indirect: this.negotiated('INDIRECT_DESC'),
            inOrder: this.negotiated('IN_ORDER'),
            endian: this.#legacy?.endian ?? 'little',
          },
          restored,
        )
      : new PeerError('QUEUE_SIZE_INVALID', `size ${setup.size} where at most ${setup.maxSize} is offered`);
    if (ring instanceof PeerError) {
      this.needsReset(ring);
      return;
    }
    const number = this.#isAdmin(index)
      ? index - this.adminQueueIndex
      : (this.device.type.queueAt(index)?.number ?? 0);
    this.#active[index] = new ActiveQueue(index, number, this.#label(index), ring, this);
  }

  /** The device lets go of a queue, and of all that it has taken from it. */
  #stopQueue(index: number): void {
    this.#active[index]?.close();
    this.#active[index] = undefined;
    const place = this.#isAdmin(index) ? undefined : this.device.type.queueAt(index);
    if (place !== undefined) {
      this.#guard(() => this.device.behaviour.resetQueue?.(asQueueName(place.name), place.number));
    }
    this.#finishSuspend();
    this.#tellIdle();
    this.trace?.({ kind: 'reset', queue: this.#label(index) });
  }

  #isAdmin(index: number): boolean {
    return index >= this.adminQueueIndex && index < this.queues.length;
  }

  #label(index: number): string {
    return this.#isAdmin(index)
      ? adminQueueLabel(index - this.adminQueueIndex)
      : this.device.type.queueLabel(index);
  }

  /** Those who wait for chains to come back look again. */
  #tellIdle(): void {
    for (const look of this.#waitForIdle.splice(0)) look();
  }

  /** Lets the device have what is available in a queue: as many chains as it holds or 64 MiB of them, then yields. */
  #process(queue: ActiveQueue): void {
    if (!this.mayTake() || !queue.live) return;
    queue.wake();
    const admin = this.#isAdmin(queue.index) ? this.#administration : undefined;
    const name = admin === undefined ? (this.device.type.queueAt(queue.index)?.name ?? '') : '';
    const serve = admin === undefined ? this.device.behaviour.serve?.[name] : admin.serve;
    const available = this.device.behaviour.available?.[name];
    if (available !== undefined) queue.batch(() => available(queue));
    if (serve === undefined) return;
    queue.ring.disableNotifications();
    let budget = queue.ring.size;
    let bytes = mostBytesAtOnce;
    queue.batch(() => {
      for (; budget > 0 && bytes > 0; budget--) {
        const chain = queue.take();
        if (chain === undefined) break;
        bytes -= chain.totalLength;
        this.#serve(queue, chain, serve);
      }
    });
    if (budget === 0 || bytes <= 0) this.#later(() => this.#process(queue));
  }

  #serve(queue: ActiveQueue, chain: Chain, serve: ServeHandler): void {
    const failed = (error: unknown): void => this.failed(queue, error);
    try {
      const settled = serve(chain, queue);
      if (settled === undefined) queue.complete(chain);
      else settled.then(() => queue.complete(chain)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /**
   * Runs a part of the device's behaviour. What it throws, now or later, is reported and goes no further; the
   * device needs a reset then, unless told or reset meanwhile.
   */
  #guard(call: () => void | Promise<void>, fatal = true): void {
    const resets = this.#resets;
    const failed = (error: unknown): void => {
      if (fatal && resets === this.#resets) this.needsReset(asVirtioError(error));
      else this.#host.onError?.(asVirtioError(error), false);
    };
    try {
      const settled = call();
      if (settled instanceof Promise) settled.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** @spec 3.4.2 device: General Initialization And Device Operation / Device Suspend */
  #suspend(): void {
    this.#suspending = true;
    this.#finishSuspend();
  }

  #finishSuspend(): void {
    if (!this.#suspending || this.#active.some(hasInFlight)) return;
    this.#suspending = false;
    this.#status = (this.#status | status.SUSPEND) & ~status.DRIVER_OK;
    this.trace?.({ kind: 'status', value: this.#status });
  }

  #unsuspend(): void {
    this.#status = (this.#status | status.DRIVER_OK) & ~status.SUSPEND;
    this.#applyDeferredConfig();
    for (const queue of this.#active) if (queue !== undefined) this.#process(queue);
    this.#flushConfigChange();
  }

  #updateConfig(values: Readonly<Record<string, unknown>>): void {
    if (this.#suspended) {
      this.#deferredConfig = { ...this.#deferredConfig, ...values };
      return;
    }
    this.device.configSpace.update(values);
    this.#configChanged = true;
    this.#flushConfigChange();
  }

  #applyDeferredConfig(): void {
    const values = this.#deferredConfig;
    this.#deferredConfig = undefined;
    if (values === undefined) return;
    this.device.configSpace.update(values);
    this.#configChanged = true;
  }

  #flushConfigChange(): void {
    if (!this.#configChanged || !this.live) return;
    this.#configChanged = false;
    this.#interruptConfig();
  }

  #interruptConfig(): void {
    this.trace?.({ kind: 'interrupt' });
    this.#host.interruptConfig();
  }

  #later(task: () => void): void {
    if (this.#host.defer !== undefined) this.#host.defer(task);
    else void Promise.resolve().then(task);
  }
}

function asVirtioError(error: unknown): VirtioError {
  if (error instanceof VirtioError) return error;
  return new HostError('IO_ERROR', `a device handler failed: ${String(error)}`, { cause: error });
}

const hasInFlight = (queue: ActiveQueue | undefined): boolean => (queue?.ring.inFlight ?? 0) > 0;

// The field names of an erased device type are strings that only the type itself can tell apart.
const asFieldName = (name: string): never => name as never;
// And so are its queue names.
const asQueueName = (name: string): never => name as never;
