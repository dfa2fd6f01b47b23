import { DeviceCore } from '../../device/core.ts';
import type { Device } from '../../device/device.ts';
import type { DeviceHost } from '../../device/host.ts';
import type { LegacyInterface } from '../../device/legacy.ts';
import { saveDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import type { Tracer } from '../../device/trace.ts';
import { tracing } from '../../device/tracing.ts';
import type { LegacyTransport, NotificationListener, Transport } from '../../driver/transport.ts';
import type { VirtioError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { memoryForBoth } from '../../memory/memory-for-both.ts';
import {
  busFreeFeatures,
  type FeatureSet,
  featureWords,
  type ReservedFeatureName,
} from '../../spec/features.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';

/** What a loopback can be given. */
export interface LoopbackOptions {
  /** Memory that both share; 4 MiB of its own unless told. */
  readonly memory?: GuestMemory;
  /** The driver's part of that memory; all of the first region, but for address 0, unless told. */
  readonly allocator?: Allocator;
  readonly trace?: Tracer | undefined;
  /** Joins the two through the legacy interface: `legacyInterface('big')`. */
  readonly legacy?: LegacyInterface | undefined;
  /** Hears what either side did wrong. */
  readonly onError?: ((error: VirtioError, needsReset: boolean) => void) | undefined;
}

const carries: readonly ReservedFeatureName[] = [...busFreeFeatures, 'NOTIFICATION_DATA'];

/**
 * A device and its driver in one process, with no bus between them: the shortest way from a device to a test
 * of it. Notifications to the driver arrive after the caller's turn, as interrupts would.
 *
 * @example
 * const disk = await openBlk(new Loopback(blkDevice({ storage })));
 */
export class Loopback implements Transport {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly deviceId: number;
  readonly carries: readonly ReservedFeatureName[] = carries;
  readonly legacy: LegacyTransport | undefined;
  /** The device's side of the rules: for tests that look into it. */
  readonly core: DeviceCore;
  #listener: NotificationListener | undefined;
  readonly #pendingQueues = new Set<number>();
  #pendingConfig = false;
  #scheduled = false;

  constructor(device: Device, options: LoopbackOptions = {}) {
    const { memory, allocator } = memoryForBoth(options);
    this.memory = memory;
    this.allocator = allocator;
    this.deviceId = device.type.id;
    this.legacy = options.legacy && { endian: options.legacy.endian, queueAlign: 4096, sizeIsFixed: false };
    const host: DeviceHost = {
      memory: this.memory,
      carries,
      packedRing,
      inOrder,
      legacy: options.legacy,
      trace: options.trace && tracing(options.trace),
      interruptQueue: (index) => {
        this.#pendingQueues.add(index);
        this.#schedule();
      },
      interruptConfig: () => {
        this.#pendingConfig = true;
        this.#schedule();
      },
      onError: options.onError,
    };
    this.core = new DeviceCore(device, host);
  }

  async readDeviceFeatures(): Promise<FeatureSet> {
    return this.core.offered;
  }

  async writeDriverFeatures(features: FeatureSet): Promise<void> {
    for (let word = 0; word < featureWords; word++) this.core.writeDriverFeatures(word, features.word(word));
  }

  async readStatus(): Promise<number> {
    return this.core.status;
  }

  async writeStatus(value: number): Promise<void> {
    this.core.writeStatus(value);
  }

  async readConfig(offset: number, length: number): Promise<Uint8Array> {
    return Uint8Array.from({ length }, (_, i) => this.core.readConfig(offset + i, 1));
  }

  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length; ) {
      // In the widths of fields, as on a bus: a field is one write for the device.
      const width = [4, 2, 1].find((w) => (offset + at) % w === 0 && at + w <= bytes.length) ?? 1;
      const value =
        width === 4 ? view.getUint32(at, true) : width === 2 ? view.getUint16(at, true) : view.getUint8(at);
      this.core.writeConfig(offset + at, width, value);
      at += width;
    }
  }

  async configGeneration(): Promise<number> {
    return this.legacy === undefined ? this.core.configGeneration : 0;
  }

  async queueMaxSize(index: number): Promise<number> {
    return this.core.queues[index]?.maxSize ?? 0;
  }

  async enableQueue(index: number, areas: QueueAreas): Promise<void> {
    Object.assign(this.core.queues[index] ?? {}, areas);
    this.core.enableQueue(index);
  }

  async resetQueue(index: number): Promise<void> {
    this.core.resetQueue(index);
    this.#pendingQueues.delete(index);
  }

  kick(index: number): void {
    this.core.notify(index);
  }

  listen(listener: NotificationListener | undefined): void {
    this.#listener = listener;
  }

  async close(): Promise<void> {
    this.#listener = undefined;
    this.core.detach();
  }

  /** The device's state; the driver's own lives in the driver. */
  save(): DeviceState {
    return saveDevice(this.core);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => this.#deliver());
  }

  #deliver(): void {
    this.#scheduled = false;
    const queues = [...this.#pendingQueues];
    const config = this.#pendingConfig;
    this.#pendingQueues.clear();
    this.#pendingConfig = false;
    for (const queue of queues) this.#listener?.usedBuffer(queue);
    if (config) this.#listener?.configChange();
  }
}
