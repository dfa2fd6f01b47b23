import { HostError, PeerError, UsageError } from '../errors.ts';
import { deviceMistakes } from '../peer-errors.ts';
import type { ConfigFieldsOf, DeviceType, FeatureNameOf, QueueNameOf } from '../spec/device-type.ts';
import { type FeatureSet, type ReservedFeatureName, reservedFeatures } from '../spec/features.ts';
import { type Endian, encodeFor, guestView } from '../spec/guest-endian.ts';
import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import { status } from '../spec/status.ts';
import { createDriverQueue } from '../virtqueue/create.ts';
import type { QueuePosition } from '../virtqueue/queue.ts';
import { readConfigFields, writeConfigField } from './config.ts';
import { resetDevice, waitForStatus } from './device-status.ts';
import { legacyQueueSize } from './legacy.ts';
import type { OpenOptions } from './options.ts';
import { placeAreas, placeLegacy } from './place-queue.ts';
import { type Completion, OpenQueue } from './queue.ts';
import type { Transport } from './transport.ts';

/** A device that is open: negotiated, its queues live. */
export class OpenDevice<T extends DeviceType = DeviceType> {
  readonly type: T;
  readonly transport: Transport;
  /** What the device offers, and what was negotiated. */
  readonly offered: FeatureSet;
  readonly features: FeatureSet;
  readonly #options: OpenOptions<T>;
  readonly #queues = new Map<number, OpenQueue>();
  readonly #adminQueues: OpenQueue[] = [];
  #config: Record<string, unknown>;
  #failure: Error | undefined;
  #suspended = false;
  #closed = false;

  /** @internal Use {@link open}. */
  constructor(
    type: T,
    transport: Transport,
    options: OpenOptions<T>,
    negotiated: { offered: FeatureSet; features: FeatureSet; config: Record<string, unknown> },
  ) {
    this.type = type;
    this.transport = transport;
    this.offered = negotiated.offered;
    this.features = negotiated.features;
    this.#options = options;
    this.#config = negotiated.config;
  }

  /** The byte order of rings and messages: little-endian, or that of the guest of a legacy device. */
  get endian(): Endian {
    return this.transport.legacy?.endian ?? 'little';
  }

  /** A message's structure in bytes, as the device wants them. */
  encode<F extends Fields>(layout: Struct<F>, value: Partial<StructValue<F>>): Uint8Array<ArrayBuffer> {
    return encodeFor(this.endian, layout, value);
  }

  /** A view of what the device wrote, for structures to be read from. */
  view(bytes: Uint8Array): DataView {
    return guestView(bytes, this.endian);
  }

  /** True when the feature was negotiated. */
  has(feature: FeatureNameOf<T>): boolean {
    return this.features.has(this.type.features[feature] ?? -1);
  }

  /** The configuration as last read; `refreshConfig` reads it again. Fields without their feature are absent. */
  get config(): Partial<StructValue<ConfigFieldsOf<T>>> {
    // Read by this very type's structure.
    return this.#config as Partial<StructValue<ConfigFieldsOf<T>>>;
  }

  /** What went wrong for good; `undefined` while the device is usable. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** @throws {UsageError} UNKNOWN_NAME when the queue was not set up. */
  queue(name: QueueNameOf<T>, number = 0): OpenQueue {
    const queue = this.#queues.get(this.type.queueIndex(name, number, this) ?? -1);
    if (queue === undefined)
      throw new UsageError('UNKNOWN_NAME', `${this.type.name} has no open ${name} ${number}`);
    return queue;
  }

  /** The administration virtqueues that were set up. */
  get adminQueues(): readonly OpenQueue[] {
    return this.#adminQueues;
  }

  /** Reads the configuration of one generation. */
  async refreshConfig(): Promise<Partial<StructValue<ConfigFieldsOf<T>>>> {
    this.#config = await readConfigFields(this.transport, this.type, this.offered);
    return this.config;
  }

  /**
   * Writes a configuration field that is the driver's to write.
   *
   * @throws {UsageError} BAD_STATE while the device is suspended.
   */
  async writeConfig<K extends Extract<keyof ConfigFieldsOf<T>, string>>(
    field: K,
    value: StructValue<ConfigFieldsOf<T>>[K],
  ): Promise<void> {
    if (this.#suspended) throw new UsageError('BAD_STATE', `the ${this.type.name} device is suspended`);
    await writeConfigField(this.transport, this.type, field, value);
  }

  /**
   * Sets up one queue and enables it: at initialisation, or again after `resetQueue`.
   *
   * @throws {PeerError} QUEUE_MISSING when the device does not have it.
   * @throws {UsageError} BAD_STATE when it is set up already.
   * @spec 2.7.1 driver: Basic Facilities of a Virtio Device / Virtqueues
   * @spec 2.8.11 driver: Basic Facilities of a Virtio Device / Packed Virtqueues
   * @spec 2.6.1.2.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable
   */
  async enableQueue(name: QueueNameOf<T>, number = 0, size?: number): Promise<OpenQueue> {
    const { type } = this;
    const index = type.queueIndex(name, number, this) ?? -1;
    return this.#enable(index, type.queueLabel(index, this), size);
  }

  async #enable(index: number, label: string, size?: number): Promise<OpenQueue> {
    const { transport, type } = this;
    if (this.#queues.has(index))
      throw new UsageError('BAD_STATE', `${type.name} has ${label} set up already`);
    const most = index < 0 ? 0 : await transport.queueMaxSize(index);
    if (most === 0) throw new PeerError('QUEUE_MISSING', `the ${type.name} device has no ${label}`);
    const bit = (feature: ReservedFeatureName): boolean => this.features.has(reservedFeatures[feature]);
    const ring = {
      packed: bit('RING_PACKED'),
      eventIdx: bit('EVENT_IDX'),
      indirect: bit('INDIRECT_DESC'),
      inOrder: bit('IN_ORDER'),
      endian: this.endian,
      ignoresUsedLength: transport.legacy !== undefined,
      usedLengthWithoutWrite: transport.deviations?.includes('USED_LENGTH_WITHOUT_WRITE') ?? false,
    };
    const wished = Math.min(most, size ?? this.#options.queueSize ?? 256);
    const rounded = ring.packed ? wished : 2 ** Math.floor(Math.log2(wished));
    const { legacy } = transport;
    const chosen = legacy === undefined ? rounded : legacyQueueSize(legacy, most, rounded);
    const placed: number[] = [];
    const place = (part: { length: number; alignment: number }): number => {
      const address = transport.allocator.allocate(part.length, part.alignment);
      placed.push(address);
      transport.memory.write(address, new Uint8Array(part.length));
      return address;
    };
    try {
      const areas =
        legacy === undefined ? placeAreas(chosen, ring, place) : placeLegacy(chosen, legacy, place);
      const queue = new OpenQueue({
        index,
        label,
        transport,
        ring: createDriverQueue<Completion>(transport.memory, areas, {
          ...ring,
          allocator: transport.allocator,
          indirectPolicy: this.#options.indirectPolicy ?? 'auto',
        }),
        areas: placed,
        sendsData: bit('NOTIFICATION_DATA'),
        onBroken: (error) => this.fail(error),
      });
      this.#queues.set(index, queue);
      await transport.enableQueue(index, areas);
      return queue;
    } catch (error) {
      // The device was never told of it, unless the queue is known by now and freed with the others.
      if (!this.#queues.has(index)) for (const address of placed) transport.allocator.free(address);
      throw error;
    }
  }

  /**
   * @internal Sets up administration virtqueues, at initialisation.
   *
   * @spec 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
   */
  async enableAdminQueues(): Promise<void> {
    const { index, count } = (await this.transport.adminQueues?.()) ?? { index: 0, count: 0 };
    const wanted = Math.min(count, this.#options.adminQueues ?? 1);
    for (let number = 0; number < wanted; number++) {
      this.#adminQueues.push(await this.#enable(index + number, `adminq${number + 1}`));
    }
  }

  /**
   * Resets one queue; its buffers come back as failed. `enableQueue` sets it up again.
   *
   * @throws {UsageError} NOT_NEGOTIATED without VIRTIO_F_RING_RESET.
   * @spec 2.6.1.1.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
   */
  async resetQueue(name: QueueNameOf<T>, number = 0): Promise<void> {
    if (!this.features.has(reservedFeatures.RING_RESET)) {
      throw new UsageError('NOT_NEGOTIATED', 'VIRTIO_F_RING_RESET was not negotiated');
    }
    const queue = this.queue(name, number);
    queue.pause();
    try {
      await this.transport.resetQueue(queue.index);
    } catch (error) {
      if (!this.#suspended) queue.unpause();
      throw error;
    }
    queue.close(new HostError('DEVICE_GONE', `${queue.label} was reset`));
    queue.release();
    this.#queues.delete(queue.index);
  }

  /**
   * Suspends the device: it uses every buffer it has begun, then rests. What is submitted meanwhile waits for
   * `resume`.
   *
   * @throws {UsageError} NOT_NEGOTIATED without VIRTIO_F_SUSPEND.
   * @throws {PeerError} RESET_INCOMPLETE when the device does not suspend; it is used on as before then.
   * @spec 3.4.1 driver: General Initialization And Device Operation / Device Suspend
   */
  async suspend(): Promise<void> {
    if (!this.features.has(reservedFeatures.SUSPEND)) {
      throw new UsageError('NOT_NEGOTIATED', 'VIRTIO_F_SUSPEND was not negotiated');
    }
    this.#suspended = true;
    for (const queue of this.#queues.values()) queue.pause();
    try {
      const before = await this.transport.readStatus();
      await this.transport.writeStatus(before | status.SUSPEND);
      await waitForStatus(
        this.transport,
        (value) => (value & status.SUSPEND) !== 0 && (value & status.DRIVER_OK) === 0,
        'suspend',
      );
    } catch (error) {
      this.#goOn();
      throw error;
    }
  }

  /**
   * Resumes a suspended device, and goes on with what was submitted meanwhile.
   *
   * @throws {PeerError} RESET_INCOMPLETE when the device does not resume.
   * @spec 3.4.1 driver: General Initialization And Device Operation / Device Suspend
   */
  async resume(): Promise<void> {
    const before = await this.transport.readStatus();
    await this.transport.writeStatus(before | status.DRIVER_OK);
    await waitForStatus(
      this.transport,
      (value) => (value & status.SUSPEND) === 0 && (value & status.DRIVER_OK) !== 0,
      'resume',
    );
    this.#goOn();
  }

  /**
   * Resets the device and lets go of it. Buffers in flight come back as failed, also when the device cannot be
   * reset; the memory that it may still use is not given back then.
   *
   * @throws {PeerError} RESET_INCOMPLETE.
   * @throws {HostError} DEVICE_GONE.
   * @spec 3.3.1 driver: General Initialization And Device Operation / Device Cleanup
   */
  async close(): Promise<void> {
    await this.abandon();
    await this.transport.close();
  }

  /** @internal As `close`, but for the transport: it can be used again. */
  async abandon(): Promise<void> {
    this.#closed = true;
    this.transport.listen(undefined);
    for (const queue of this.#queues.values()) queue.pause();
    try {
      await resetDevice(this.transport);
    } finally {
      this.#closeQueues(new HostError('DEVICE_GONE', 'the device was closed'));
    }
    this.release();
  }

  /** @internal The device uses no queue any more, or never did: gives their memory back. */
  release(): void {
    for (const queue of this.#queues.values()) queue.release();
  }

  /** @internal */
  usedBuffer(index: number | undefined): void {
    if (index !== undefined) this.#queues.get(index)?.process();
    else for (const queue of this.#queues.values()) queue.process();
  }

  /** @internal The device died, and its like goes on with the queue. */
  restarting(index: number, remembers: boolean): QueuePosition | undefined {
    return this.#queues.get(index)?.restart(remembers);
  }

  /** @internal */
  configChange(): void {
    void this.transport.readStatus().then((value) => {
      if ((value & status.DEVICE_NEEDS_RESET) !== 0) {
        this.fail(
          new PeerError(
            'DEVICE_NEEDS_RESET',
            `the ${this.type.name} device needs a reset`,
            deviceMistakes.DEVICE_NEEDS_RESET,
          ),
        );
      } else {
        this.#options.onConfigChange?.();
      }
    }, this.fail.bind(this));
  }

  /**
   * Gives the device up: every request fails with `error`, and the program hears of it. For drivers that find
   * the device broken. A device that was closed or has failed before stays as it is.
   */
  fail(error: Error): void {
    if (this.#closed || this.#failure !== undefined) return;
    this.#failure = error;
    this.#closeQueues(error);
    this.#options.onFailure?.(error);
  }

  #goOn(): void {
    this.#suspended = false;
    for (const queue of this.#queues.values()) queue.unpause();
  }

  #closeQueues(reason: Error): void {
    for (const queue of this.#queues.values()) queue.close(reason);
  }
}
