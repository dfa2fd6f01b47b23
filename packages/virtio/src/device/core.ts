import { asVirtioError, PeerError, type PeerErrorCode, UsageError, type VirtioError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ClauseId } from '../spec/clauses.ts';
import type { SettledDevice } from '../spec/device-type.ts';
import { type FeatureSet, type ReservedFeatureName, reservedFeatures } from '../spec/features.ts';
import * as status from '../spec/status-bit.ts';
import type { Chain } from '../virtqueue/chain.ts';
import { type DeviceRing, openDeviceQueue, splitRing } from '../virtqueue/device-ring.ts';
import type { RestoredQueue } from '../virtqueue/restored-queue.ts';
import { ActiveQueue, type QueueOwner, type QueuePlace, type QueueWatch } from './active-queue.ts';
import type { Administration } from './administration.ts';
import { attempt } from './attempt.ts';
import type { Device } from './device.ts';
import type { DeviceHost } from './host.ts';
import type { LegacyInterface } from './legacy.ts';
import { featuresMistake, offeredFeatures, queueSizes } from './offer.ts';
import { defaultQueueSetup, type QueueSetup } from './queue-setup.ts';
import { serveQueue } from './serving.ts';
import { Session } from './session.ts';
import { checkStatusWrite } from './status-machine.ts';
import type { Tracing } from './tracing.ts';

/**
 * The rules of all devices: status, negotiation, queue set-up, configuration space, reset, suspend. Every
 * device-side transport drives one through its registers; a device's behaviour is called from here alone.
 * `saveDevice` and `restoreDevice` keep what it is in the middle of.
 */
export class DeviceCore implements QueueOwner, SettledDevice {
  readonly device: Device;
  /** The device type's own queues, and behind them the administration virtqueues. */
  readonly queues: readonly QueueSetup[];
  /** The index of the first administration virtqueue: how many queues are the device type's own. */
  readonly adminQueueIndex: number;

  /** @internal */
  readonly host: DeviceHost;
  /** @internal */
  readonly administration: Administration | undefined;
  /** @internal Another one after each reset. */
  session: Session;
  readonly #offered: FeatureSet;
  readonly #onConfigUpdate = (values: Readonly<Record<string, unknown>>): void => this.#updateConfig(values);
  #deferredConfig: Record<string, unknown> | undefined;
  #waitForIdle: (() => void)[] = [];

  /** @throws {UsageError} BAD_STATE when the device is in use by another transport. */
  constructor(device: Device, host: DeviceHost) {
    if (device.onConfigUpdate !== undefined) {
      throw new UsageError('BAD_STATE', `this ${device.type.name} device is attached already`);
    }
    device.onConfigUpdate = this.#onConfigUpdate;
    this.device = device;
    this.host = host;
    this.session = this.#newSession();
    this.#offered = offeredFeatures(device, host);
    const own = queueSizes(device);
    this.adminQueueIndex = own.length;
    if (this.#offered.has(reservedFeatures.ADMIN_VQ)) this.administration = device.administration;
    this.queues = Array.from([...own, ...(this.administration?.queues ?? [])], (size) =>
      defaultQueueSetup(size),
    );
    this.#layQueues();
  }

  /** Lets go of the device, so that another transport may have it. */
  detach(): void {
    if (this.#isAnothers) return;
    this.reset();
    this.device.onConfigUpdate = undefined;
  }

  get memory(): GuestMemory {
    return this.host.memory;
  }

  get trace(): Tracing | undefined {
    return this.host.trace;
  }

  /** The features that the device offers, through the interface that is in force. */
  get offered(): FeatureSet {
    return this.legacy?.offered(this.device, this.#offered) ?? this.#offered;
  }

  /** The legacy interface while it is in force. */
  get legacy(): LegacyInterface | undefined {
    return this.session.legacy;
  }

  /** The device status field. */
  get status(): number {
    return this.session.status;
  }

  get driverFeatures(): FeatureSet {
    return this.session.driverFeatures;
  }

  /** True when the driver accepts the feature, so far. */
  has(feature: string): boolean {
    return this.driverFeatures.has(this.device.type.features[feature] ?? -1);
  }

  get config(): Readonly<Record<string, unknown>> {
    return this.device.configSpace.values;
  }

  /** True once FEATURES_OK was accepted and the feature is among those that both sides have. */
  negotiated(feature: ReservedFeatureName): boolean {
    const isSettled = this.session.has(status.FEATURES_OK) || this.legacy !== undefined;
    return isSettled && this.driverFeatures.has(reservedFeatures[feature]);
  }

  /** A queue that the driver may set up; `undefined` when it is none, or was not negotiated. */
  queue(index: number): QueueSetup | undefined {
    return index < this.adminQueueIndex || this.negotiated('ADMIN_VQ') ? this.queues[index] : undefined;
  }

  /**
   * True from DRIVER_OK to reset, but not while suspended or in need of a reset. With a legacy driver, from its
   * first use of the device.
   */
  get live(): boolean {
    return this.session.live;
  }

  /**
   * The driver wrote a 32-bit word of its features.
   *
   * @spec 3.1.1 driver: General Initialization And Device Operation / Device Initialization
   */
  writeDriverFeatures(word: number, value: number): void {
    const { session } = this;
    if (session.has(status.FEATURES_OK | status.DRIVER_OK) || session.early) {
      this.violation('STATUS_SEQUENCE', 'features were written after they were settled');
      return;
    }
    session.driverFeatures = session.driverFeatures.withWord(word, value);
    this.#layQueues();
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
    const { session } = this;
    const step =
      session.legacy?.checkStatusWrite(session.status, value) ??
      checkStatusWrite(session.status, value, this.negotiated('SUSPEND'));
    for (const { code, message } of step.mistakes) this.violation(code, message);
    session.status |= step.set;
    if (step.featuresOk && this.#settleFeatures()) session.status |= status.FEATURES_OK;
    if (step.suspend) this.#suspend();
    if (step.resume) this.#unsuspend();
    if (step.driverOk && !session.has(status.DEVICE_NEEDS_RESET)) this.#start();
    this.#traceStatus();
  }

  /**
   * Returns the device to its first state, whatever it was doing. Completions that come later are ignored.
   *
   * @spec 2.4.1 device: Basic Facilities of a Virtio Device / Device Reset
   */
  reset(): void {
    if (this.#isAnothers) return;
    for (const queue of this.session.queues) queue?.close();
    this.session = this.#newSession();
    for (const setup of this.queues) Object.assign(setup, defaultQueueSetup(setup.maxSize));
    this.#layQueues();
    this.#applyDeferredConfig();
    // A device that is reset has no driver to be told that it needs to be.
    this.#guard(() => this.device.behaviour.reset?.(), false);
    this.administration?.reset();
    this.#tellIdle();
    this.trace?.reset();
  }

  /**
   * The driver enabled a queue that it has set up. The queue goes live now, or at DRIVER_OK.
   *
   * @spec 2.6.1.2.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable
   */
  enableQueue(index: number): void {
    const setup = this.queue(index);
    if (setup === undefined || setup.maxSize === 0) {
      this.violation('QUEUE_SIZE_INVALID', `queue ${index} was enabled, which does not exist`);
      return;
    }
    if (setup.enabled) return;
    setup.enabled = true;
    if (this.live) this.openQueue(index);
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
    this.closeQueue(index);
  }

  /**
   * The driver's available buffer notification.
   *
   * @spec 2.7.10.2 device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
   */
  notify(index: number): void {
    this.trace?.notify(this.#label(index));
    const { session } = this;
    if (!session.live && this.#isFirstUse(index)) {
      session.early = true;
      this.#begin();
    }
    if (!session.live) {
      if (!session.has(status.DRIVER_OK | status.SUSPEND)) {
        this.violation('NOTIFICATION_UNEXPECTED', `queue ${index} was notified before DRIVER_OK`);
      }
      return;
    }
    const queue = session.queues[index];
    if (queue === undefined) {
      this.violation('NOTIFICATION_UNEXPECTED', `queue ${index} was notified, which is not enabled`);
      return;
    }
    this.process(queue);
  }

  /** 1, 2 or 4 bytes of the configuration space, joined little-endian whatever they are to the driver. */
  readConfig(offset: number, width: number): number {
    const { configSpace, type } = this.device;
    return this.legacy?.readConfig(type, configSpace, offset, width) ?? configSpace.read(offset, width);
  }

  /**
   * The driver wrote 1, 2 or 4 bytes of the configuration space.
   *
   * @spec 3.4.2 device: General Initialization And Device Operation / Device Suspend
   */
  writeConfig(offset: number, width: number, value: number): void {
    if (this.session.has(status.SUSPEND) || this.#isAnothers) return;
    const { configSpace, type, behaviour } = this.device;
    const written =
      this.legacy?.writeConfig(type, configSpace, offset, width, value) ??
      configSpace.write(offset, width, value);
    if (written !== undefined) {
      this.#guard(() => behaviour.writeConfig?.(asFieldName(written.field), written.value));
      return;
    }
    this.misaccess('write', offset, width, "the configuration, which are not the driver's");
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
    this.host.onError?.(error, true);
    if (error instanceof PeerError) this.trace?.violation(error);
    const { session } = this;
    if (session.has(status.DEVICE_NEEDS_RESET)) return;
    const wasLive = session.live;
    session.status |= status.DEVICE_NEEDS_RESET;
    this.#tellIdle();
    this.#traceStatus();
    if (wasLive) this.#interruptConfig();
  }

  /** The driver broke a rule in a way that the device can live with: it is named, and no more. */
  violation(code: PeerErrorCode, message: string, clause?: ClauseId): void {
    const error = new PeerError(code, `${this.device.type.name}: ${message}`, clause);
    this.trace?.violation(error);
    this.host.onError?.(error, false);
  }

  /** The driver read or wrote `width` bytes as it may not: `where` says of what, and why not. */
  misaccess(access: 'read' | 'write', offset: number, width: number, where: string): void {
    this.violation('REGISTER_ACCESS', `a ${access} of ${width} bytes at ${offset} of ${where}`);
  }

  /**
   * Goes on after a restore, or when memory may be accessed again: looks at every queue, whose notification may
   * have been lost, and notifies the driver of each, whose interrupt may have been.
   */
  resume(): void {
    const { session } = this;
    if (!session.live) return;
    for (const queue of session.queues) {
      if (queue === undefined) continue;
      this.interrupt(queue);
      this.process(queue);
    }
    this.#flushConfigChange();
    if (!session.suspendAfterResume || !this.mayTake()) return;
    session.suspendAfterResume = false;
    this.#suspend();
  }

  /** Settles when no chain is in flight: all that was taken has been completed, or never will be. */
  async idle(): Promise<void> {
    while (!this.session.has(status.DEVICE_NEEDS_RESET) && this.session.inFlight) await this.change();
  }

  /** @internal Settles when chains have come back, or when some never will. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#waitForIdle.push(resolve));
  }

  mayTake(): boolean {
    return this.live && !this.session.suspending && this.host.mayAccessMemory?.() !== false;
  }

  taken(queue: ActiveQueue, chain: Chain): void {
    this.trace?.chain(queue.label, chain);
  }

  completed(queue: ActiveQueue, chain: Chain): void {
    this.trace?.complete(queue.label, chain);
    const { onDeviceWrite } = this.memory;
    if (onDeviceWrite !== undefined && chain.live) chain.writable.writtenPieces(onDeviceWrite);
    this.cameBack();
  }

  /** Those who wait for chains to come back look again, after the caller's turn. */
  cameBack(): void {
    if (this.session.suspending) this.#later(() => this.#finishSuspend());
    if (this.#waitForIdle.length > 0) this.#later(() => this.#tellIdle());
  }

  interrupt(queue: ActiveQueue): void {
    this.trace?.interrupt(queue.label);
    this.host.interruptQueue(queue.index);
  }

  failed(queue: ActiveQueue, error: unknown): void {
    // What was overtaken by a reset fails on a dead chain; nobody waits for it.
    if (queue.live) this.needsReset(asVirtioError(error));
  }

  /** @internal Tells the device that a driver uses it. */
  activate(): void {
    const { type, behaviour } = this.device;
    this.#guard(() =>
      behaviour.activate?.({
        has: (feature) => this.has(feature),
        memory: this.memory,
        endian: 'little',
        legacy: undefined,
        violation: (message, clause) => this.violation('BAD_REQUEST', message, clause),
        ...this.legacy?.context(this),
        queue: (name, number) => this.session.queues[type.queueIndex(name, number, this) ?? -1],
      }),
    );
  }

  /** @internal Makes an enabled queue live. */
  openQueue(index: number, restored?: RestoredQueue, watch?: QueueWatch): void {
    const setup = this.queues[index];
    if (setup === undefined) return;
    const packed = this.negotiated('RING_PACKED');
    const fits = setup.size > 0 && setup.size <= setup.maxSize;
    const ring = fits
      ? openDeviceQueue(
          this.ringOf(packed),
          this.memory,
          setup,
          {
            packed,
            eventIdx: this.negotiated('EVENT_IDX'),
            indirect: this.negotiated('INDIRECT_DESC'),
            order: this.negotiated('IN_ORDER') ? this.host.inOrder : undefined,
            endian: this.legacy?.endian ?? 'little',
            viewOf: this.legacy?.viewOf,
          },
          restored,
        )
      : new PeerError('QUEUE_SIZE_INVALID', `size ${setup.size} where at most ${setup.maxSize} is offered`);
    if (ring instanceof PeerError) {
      this.needsReset(ring);
      return;
    }
    this.session.queues[index] = new ActiveQueue(index, this.#place(index), ring, this, watch);
  }

  /** @internal Of which kind a queue is. A host may put another in its place, to have queues reach memory otherwise. */
  ringOf(packed: boolean): DeviceRing {
    return (packed && this.host.packedRing) || splitRing;
  }

  #newSession(): Session {
    return new Session(this.host.transitional === true ? undefined : this.host.legacy);
  }

  /** True when this core let go of the device, and another has it. */
  get #isAnothers(): boolean {
    const { onConfigUpdate } = this.device;
    return onConfigUpdate !== undefined && onConfigUpdate !== this.#onConfigUpdate;
  }

  #traceStatus(): void {
    this.trace?.status(this.status);
  }

  /**
   * True when the driver's features are a sound subset of what was offered.
   *
   * @spec 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
   * @spec 6.2 device: Reserved Feature Bits
   */
  #settleFeatures(): boolean {
    const { type } = this.device;
    const { driverFeatures } = this;
    let refusal = featuresMistake(type, driverFeatures, this.offered, this.host.isPartial);
    let clause: ClauseId | undefined;
    if (refusal === undefined && !this.has('VERSION_1')) {
      refusal = 'did not accept VERSION_1, bit 32';
      clause = 'driver: Reserved Feature Bits';
    }
    refusal ??= this.refusal();
    const isSound = refusal === undefined;
    this.trace?.features(type, driverFeatures, isSound);
    if (!isSound) this.violation('FEATURES_REFUSED', `the driver ${refusal}`, clause);
    return isSound;
  }

  /** @internal What the device itself has against the driver's features. */
  refusal(): string | undefined {
    let refusal: string | undefined = 'met a device that failed';
    this.#guard(() => {
      const isLegacy = this.legacy !== undefined;
      refusal = this.device.behaviour.negotiate?.((name) => this.has(name), isLegacy);
    });
    return refusal;
  }

  #start(): void {
    const { session } = this;
    session.status |= status.DRIVER_OK;
    if (!session.early) this.#begin();
    session.early = false;
  }

  /** A legacy driver may use a queue before it sets DRIVER_OK. */
  #isFirstUse(index: number): boolean {
    const mayBegin = !this.session.has(status.DRIVER_OK | status.DEVICE_NEEDS_RESET);
    return this.legacy !== undefined && mayBegin && this.queues[index]?.enabled === true;
  }

  /** The driver uses the device from here on. */
  #begin(): void {
    this.legacy?.settleFeatures(this);
    if (!this.live) return;
    for (const [index, setup] of this.queues.entries()) if (setup.enabled) this.openQueue(index);
    this.activate();
    this.#processAll();
  }

  /** @internal The device lets go of a queue, and of all that it has taken from it. */
  closeQueue(index: number): void {
    const { queues } = this.session;
    queues[index]?.close();
    queues[index] = undefined;
    const { name, number } = this.#place(index);
    if (name !== undefined) {
      this.#guard(() => this.device.behaviour.resetQueue?.(asQueueName(name), number));
    }
    this.#finishSuspend();
    this.#tellIdle();
    this.trace?.reset(this.#label(index));
  }

  /** What a queue is to the device: one of its type's own, or an administration virtqueue. */
  #place(index: number): QueuePlace {
    const { type, behaviour } = this.device;
    const admin = this.administration?.place(index - this.adminQueueIndex);
    if (admin !== undefined) return admin;
    const { name, number } = type.queueAt(index, this) ?? { name: undefined, number: 0 };
    const serve = behaviour.serve?.[name ?? ''];
    const available = behaviour.available?.[name ?? ''];
    return { name, number, label: type.queueLabel(index, this), serve, available };
  }

  /** Where queues stand may depend on what the driver accepts: those that are elsewhere are another queue. */
  #layQueues(): void {
    const sizes = queueSizes(this.device, this);
    for (const [index, setup] of this.queues.slice(0, this.adminQueueIndex).entries()) {
      const laid = defaultQueueSetup(sizes[index]);
      if (setup.maxSize !== laid.maxSize) Object.assign(setup, laid);
    }
  }

  #label(index: number): string {
    return this.#place(index).label;
  }

  /** Those who wait for chains to come back look again. */
  #tellIdle(): void {
    for (const look of this.#waitForIdle.splice(0)) look();
  }

  #processAll(): void {
    for (const queue of this.session.queues) if (queue !== undefined) this.process(queue);
  }

  /** Lets the device have what is available in a queue. */
  process(queue: ActiveQueue): void {
    if (!this.mayTake() || !queue.live) return;
    const { polling } = this.host;
    if (serveQueue(queue, polling)) polling?.ranEmpty(queue, this);
  }

  processLater(queue: ActiveQueue): void {
    this.#later(() => this.process(queue));
  }

  /**
   * Runs a part of the device's behaviour. What it throws, now or later, is reported and goes no further; the
   * device needs a reset then, unless told or reset meanwhile.
   */
  #guard(call: () => void | Promise<void>, fatal = true): void {
    const { session } = this;
    attempt(call, (error) => {
      if (fatal && session === this.session) this.needsReset(asVirtioError(error));
      else this.host.onError?.(asVirtioError(error), false);
    });
  }

  /** @spec 3.4.2 device: General Initialization And Device Operation / Device Suspend */
  #suspend(): void {
    this.session.suspending = true;
    this.#finishSuspend();
  }

  #finishSuspend(): void {
    const { session } = this;
    if (!session.suspending || session.inFlight) return;
    session.suspending = false;
    // What is held back would have to wait until the device goes on.
    for (const queue of session.queues) queue?.notify();
    session.status = (session.status | status.SUSPEND) & ~status.DRIVER_OK;
    this.#traceStatus();
  }

  #unsuspend(): void {
    const { session } = this;
    session.status = (session.status | status.DRIVER_OK) & ~status.SUSPEND;
    this.#applyDeferredConfig();
    this.#processAll();
    this.#flushConfigChange();
  }

  #updateConfig(values: Readonly<Record<string, unknown>>): void {
    this.#deferredConfig = { ...this.#deferredConfig, ...values };
    if (this.session.has(status.SUSPEND)) return;
    this.#applyDeferredConfig();
    this.#flushConfigChange();
  }

  #applyDeferredConfig(): void {
    const values = this.#deferredConfig;
    this.#deferredConfig = undefined;
    if (values === undefined) return;
    this.device.configSpace.update(values);
    this.session.configChanged = true;
  }

  #flushConfigChange(): void {
    const { session } = this;
    if (!session.configChanged || !session.live) return;
    session.configChanged = false;
    this.#interruptConfig();
  }

  #interruptConfig(): void {
    this.trace?.interrupt();
    this.host.interruptConfig();
  }

  #later(task: () => void): void {
    if (this.host.defer !== undefined) this.host.defer(task);
    else void Promise.resolve().then(task);
  }
}

// The field names of an erased device type are strings that only the type itself can tell apart.
const asFieldName = (name: string): never => name as never;
// And so are its queue names.
const asQueueName = (name: string): never => name as never;
