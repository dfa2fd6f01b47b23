import type { Transport } from '../../driver/transport.ts';
import type { DeviceType } from '../../spec/device-type.ts';
import { FeatureSet, reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import { check, until } from '../check.ts';
import type { Probe } from '../fixtures/fixture.ts';
import { type Configuration, reservedOf } from '../matrix.ts';
import { RawPackedRing } from './packed-ring.ts';
import type { RawElement, RawRing, RawUsed } from './ring.ts';
import { RawSplitRing } from './split-ring.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;

/** Every status bit that a driver sets on its way to a live device. */
export const live: number = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

/** The status bits that are set before DRIVER_OK: the legacy interface has no FEATURES_OK. */
export const negotiatedStatus = ({ legacy }: Pick<Transport, 'legacy'>): number =>
  legacy === undefined ? ACKNOWLEDGE | DRIVER | FEATURES_OK : ACKNOWLEDGE | DRIVER;

/** What a raw driver drives. */
export interface RawTarget {
  readonly transport: Transport;
  readonly type: DeviceType;
  readonly probe: Probe;
  readonly configuration: Configuration;
}

/** How far initialisation goes, and with what. */
export interface RawOptions {
  /** Instead of those of the configuration that are offered. */
  readonly features?: FeatureSet;
  /** The largest queue size to use, in descriptors; 16 unless told. */
  readonly size?: number;
  /** Stop before DRIVER_OK; `go` sets it. */
  readonly pause?: boolean;
}

/**
 * A driver made of register writes and hand-written rings. It knows the rules as far as it needs to break
 * them one at a time.
 */
export class RawDriver {
  readonly transport: Transport;
  readonly type: DeviceType;
  readonly probe: Probe;
  readonly features: FeatureSet;
  /** Index of the probed queue. */
  readonly queue: number;
  /** Used buffer notifications of the probed queue, and configuration change notifications, so far. */
  usedNotifications = 0;
  configNotifications = 0;
  readonly #configuration: Configuration;
  readonly #allocated: number[] = [];

  private constructor(target: RawTarget, features: FeatureSet) {
    this.transport = target.transport;
    this.type = target.type;
    this.probe = target.probe;
    this.features = features;
    this.queue = target.type.queueIndex(target.probe.queue) ?? -1;
    this.#configuration = target.configuration;
  }

  /** Resets the device and initialises it as far as it is asked to, with the probed queue alone. */
  static async start(
    target: RawTarget,
    options: RawOptions = {},
  ): Promise<{ driver: RawDriver; ring: RawRing }> {
    const driver = await RawDriver.negotiate(target, options.features);
    const ring = await driver.enable(options.size);
    if (options.pause !== true) await driver.go();
    return { driver, ring };
  }

  /** Resets the device and goes as far as FEATURES_OK, or to the features of the legacy interface. */
  static async negotiate(target: RawTarget, wanted?: FeatureSet): Promise<RawDriver> {
    const { transport, type, configuration } = target;
    await transport.writeStatus(0);
    await until(transport, async () => (await transport.readStatus()) === 0, 'the device completes a reset');
    await transport.writeStatus(ACKNOWLEDGE);
    await transport.writeStatus(ACKNOWLEDGE | DRIVER);
    const offered = await transport.readDeviceFeatures();
    const features = wanted ?? type.featureSet(reservedOf(configuration)).intersect(offered);
    await transport.writeDriverFeatures(features);
    if (transport.legacy === undefined) {
      await transport.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
      const accepted = await transport.readStatus();
      check((accepted & FEATURES_OK) !== 0, `the device accepts ${type.featureNames(features).join(', ')}`);
    }
    const driver = new RawDriver(target, features);
    transport.listen({
      usedBuffer: (index) => {
        if (index === undefined || index === driver.queue) driver.usedNotifications++;
      },
      configChange: () => void driver.configNotifications++,
    });
    return driver;
  }

  get packed(): boolean {
    return this.features.has(reservedFeatures.RING_PACKED);
  }

  /** Places the probed queue anew and enables it; at most `size` descriptors. */
  async enable(size = 16): Promise<RawRing> {
    const most = await this.transport.queueMaxSize(this.queue);
    check(most > 0, `the device has its ${this.probe.queue}`);
    const isFixed = this.transport.legacy?.sizeIsFixed === true;
    const ring = this.place(isFixed ? most : Math.min(size, 2 ** Math.floor(Math.log2(most))));
    await this.transport.enableQueue(this.queue, ring.areas);
    return ring;
  }

  /** A ring in fresh memory, of which the device does not know yet. */
  place(size: number): RawRing {
    const { memory, legacy } = this.transport;
    const areas =
      legacy === undefined
        ? {
            size,
            descriptor: this.allocate(16 * size, 16),
            driver: this.allocate(6 + 2 * size, 4),
            device: this.allocate(6 + 8 * size, 4),
          }
        : this.#placeLegacy(size, legacy.queueAlign);
    const bit = (name: 'EVENT_IDX' | 'IN_ORDER'): boolean => this.features.has(reservedFeatures[name]);
    const endian = legacy?.endian ?? 'little';
    const options = { eventIdx: bit('EVENT_IDX'), inOrder: bit('IN_ORDER'), endian };
    const ring = this.packed
      ? new RawPackedRing(memory, areas, options)
      : new RawSplitRing(memory, areas, options);
    ring.wish('always');
    return ring;
  }

  /** Sets DRIVER_OK. */
  async go(): Promise<void> {
    await this.transport.writeStatus(negotiatedStatus(this.transport) | DRIVER_OK);
  }

  /** The three parts in one piece, the last at a multiple of Queue Align (2.7.2). */
  #placeLegacy(size: number, queueAlign: number): QueueAreas {
    const aligned = (length: number): number => Math.ceil(length / queueAlign) * queueAlign;
    const usedAt = aligned(16 * size + 6 + 2 * size);
    const descriptor = this.allocate(usedAt + aligned(6 + 8 * size), queueAlign);
    return { size, descriptor, driver: descriptor + 16 * size, device: descriptor + usedAt };
  }

  /** Zeroed memory that `finish` gives back. */
  allocate(length: number, alignment = 16): number {
    const address = this.transport.allocator.allocate(Math.max(1, length), alignment);
    this.#allocated.push(address);
    this.transport.memory.write(address, new Uint8Array(length));
    return address;
  }

  /** The probe as a buffer: its request and its response, cut into elements of at most `most` bytes. */
  elements(most: number = Number.POSITIVE_INFINITY): RawElement[] {
    const { readable, writable } = this.probe;
    const request = this.allocate(readable.length);
    this.transport.memory.write(request, readable);
    const response = this.allocate(writable);
    return [...cut(request, readable.length, false, most), ...cut(response, writable, true, most)];
  }

  kick(ring: RawRing): void {
    const sendsData = this.features.has(reservedFeatures.NOTIFICATION_DATA);
    this.transport.kick(this.queue, sendsData ? ring.notificationData() : undefined);
  }

  /** Kicks, and waits for the next used buffer. */
  async kickAndWait(ring: RawRing): Promise<RawUsed> {
    this.kick(ring);
    return this.nextUsed(ring);
  }

  async nextUsed(ring: RawRing): Promise<RawUsed> {
    let used: RawUsed | undefined;
    await until(
      this.transport,
      async () => {
        used = ring.used();
        return used !== undefined;
      },
      'the device uses the buffer',
    );
    return used ?? { id: -1, written: -1 };
  }

  /** Offers the probe as one buffer and waits until the device has used it. */
  async roundTrip(ring: RawRing): Promise<RawUsed> {
    ring.offer(this.elements());
    return this.kickAndWait(ring);
  }

  /** Time enough for a device that was going to do something to do it. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 20; i++) await this.transport.readStatus();
  }

  /** Resets the device and gives all memory back. */
  async finish(): Promise<void> {
    this.transport.listen(undefined);
    await this.transport.writeStatus(0);
    await until(this.transport, async () => (await this.transport.readStatus()) === 0, 'the device resets');
    for (const address of this.#allocated.splice(0)) this.transport.allocator.free(address);
  }
}

/** The features of a set that are in force for a raw driver: VERSION_1 and the given ones. */
export function withVersion1(...bits: readonly number[]): FeatureSet {
  return FeatureSet.of([reservedFeatures.VERSION_1, ...bits]);
}

function cut(address: number, length: number, writable: boolean, most: number): RawElement[] {
  const elements: RawElement[] = [];
  for (let at = 0; at < length; at += most) {
    elements.push({ address: address + at, length: Math.min(most, length - at), writable });
  }
  return elements;
}
