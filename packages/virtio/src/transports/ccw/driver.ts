import type { Deviation, LegacyTransport, NotificationListener, Transport } from '../../driver/transport.ts';
import { PeerError, UsageError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { dataView } from '../../spec/data-view.ts';
import { FeatureSet, featureWords, type ReservedFeatureName } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { ChannelIo } from './channel-io.ts';
import { latestRevision, type Revision } from './commands.ts';
import { DriverChannel } from './driver-channel.ts';
import { DriverIndicators } from './driver-indicators.ts';
import { carriedAt } from './features.ts';
import type { CcwLegacyDriver } from './legacy.ts';
import { negotiateRevision, readVirtioDeviceId } from './negotiate-revision.ts';
import { device_status, virtio_feature_desc, vq_config_block, vq_info_block } from './structures.ts';

/** How a driver wants its virtio-ccw device. */
export interface CcwTransportOptions {
  /** The highest revision to try: 2 unless told. */
  readonly revision?: Revision;
  /** Lets the driver go down to revision 0, as `legacyCcwDriver()` gives it; without it a legacy device is refused. */
  readonly legacy?: CcwLegacyDriver;
  /** Use two-stage indicators and adapter interruptions where the device has them: true unless told. */
  readonly adapterInterrupts?: boolean;
  /** The interruption subclass, 0 to 7, of both kinds of interruption: 3 unless told. */
  readonly isc?: number;
  /** What the device is known to do otherwise than the specification. */
  readonly deviations?: readonly Deviation[];
}

/** The largest Queue Size that there is (2.7, 2.8). */
const largestQueue = 32768;

/** The driver's end of a virtio-ccw device: what `open` needs. */
export class CcwTransport implements Transport {
  readonly deviceId: number;
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly carries: readonly ReservedFeatureName[];
  readonly legacy: LegacyTransport | undefined;
  readonly deviations: readonly Deviation[] | undefined;
  /** The revision that was agreed upon. */
  readonly revision: Revision;
  readonly statusIsWriteOnly: boolean;

  readonly #io: ChannelIo;
  readonly #schid: number;
  readonly #channel: DriverChannel;
  readonly #indicators: DriverIndicators;
  readonly #legacy: CcwLegacyDriver | undefined;
  /** The host cookie of each queue's last notification. */
  readonly #cookies: bigint[] = [];
  #queues = 0;
  /** What the device took of the status field, where it cannot be read. */
  #status = 0;
  /** The longest beginning of the configuration that was read, and how often it was found changed. */
  #config: Uint8Array = new Uint8Array(0);
  #generation = 0;

  /** @internal Use {@link CcwTransport.open}. */
  constructor(parts: {
    readonly io: ChannelIo;
    readonly schid: number;
    readonly channel: DriverChannel;
    readonly indicators: DriverIndicators;
    readonly deviceId: number;
    readonly revision: Revision;
    readonly legacy: CcwLegacyDriver | undefined;
    readonly deviations: readonly Deviation[] | undefined;
  }) {
    this.#io = parts.io;
    this.#schid = parts.schid;
    this.#channel = parts.channel;
    this.#indicators = parts.indicators;
    this.#legacy = parts.revision === 0 ? parts.legacy : undefined;
    this.deviceId = parts.deviceId;
    this.deviations = parts.deviations;
    this.memory = parts.io.memory;
    this.allocator = parts.io.allocator;
    this.revision = parts.revision;
    this.statusIsWriteOnly = parts.revision < 2;
    this.legacy = this.#legacy?.transport;
    this.carries = carriedAt(parts.revision);
  }

  /**
   * Enables a subchannel, finds out what device is there, and agrees upon a revision. The virtio device itself is not
   * touched.
   *
   * @throws {UsageError} BAD_ARGUMENT when there is no virtio device.
   * @throws {PeerError} REVISION_REFUSED when there is no revision that both know; COMMAND_FAILED.
   * @throws {HostError} DEVICE_GONE when there is no device at all.
   */
  static async open(io: ChannelIo, schid: number, options: CcwTransportOptions = {}): Promise<CcwTransport> {
    const isc = options.isc ?? 3;
    if (!Number.isInteger(isc) || isc < 0 || isc > 7) {
      throw new UsageError('BAD_ARGUMENT', `interruption subclass ${isc} is not between 0 and 7`);
    }
    const highest = options.revision ?? latestRevision;
    if (highest === 0 && options.legacy === undefined) {
      throw new UsageError('BAD_ARGUMENT', 'revision 0 needs `legacy`, from `legacyCcwDriver()`');
    }
    let transport: CcwTransport | undefined;
    const channel = await DriverChannel.open(io, schid, isc, {
      interrupted: () => transport?.interrupted(),
      adapter: (one) => transport?.adapterInterrupt(one),
      lost: (error) => transport?.lost(error),
    });
    try {
      const deviceId = await readVirtioDeviceId(channel, schid);
      const revision = await negotiateRevision(channel, highest, options.legacy !== undefined);
      const indicators = new DriverIndicators({
        ...{ memory: io.memory, allocator: io.allocator, channel, isc },
        adapter: options.adapterInterrupts ?? true,
      });
      transport = new CcwTransport({
        ...{ io, schid, channel, indicators, deviceId, revision },
        legacy: options.legacy,
        deviations: options.deviations,
      });
      return transport;
    } catch (error) {
      await channel.close();
      throw error;
    }
  }

  /** How the device tells of used buffers; `none` until its queues are set up. */
  get interrupts(): 'none' | 'classic' | 'adapter' {
    return this.#indicators.choice;
  }

  async readDeviceFeatures(): Promise<FeatureSet> {
    const words: number[] = [];
    for (let index = 0; index < (this.#legacy === undefined ? featureWords : 1); index++) {
      const answer = await this.#channel.issue('READ_FEAT', { data: virtio_feature_desc.encode({ index }) });
      words.push(virtio_feature_desc.read(dataView(answer)).features);
    }
    return FeatureSet.fromWords(words);
  }

  async writeDriverFeatures(features: FeatureSet): Promise<void> {
    for (let index = 0; index < (this.#legacy === undefined ? featureWords : 1); index++) {
      const data = virtio_feature_desc.encode({ index, features: features.word(index) });
      await this.#channel.issue('WRITE_FEAT', { data });
    }
  }

  /**
   * The device status; before revision 2 what the device has taken of it. It is 0 once the transport was closed.
   *
   * @spec 4.3.2.3.1 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information
   */
  async readStatus(): Promise<number> {
    if (this.statusIsWriteOnly) return this.#status;
    const answer = await this.#channel.ask('READ_STATUS', { length: device_status.size });
    return answer === undefined ? 0 : device_status.read(dataView(answer)).status;
  }

  /**
   * A device that rejects a status keeps the one before; `readStatus` tells.
   *
   * @spec 4.3.2.3.1 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information
   * @spec 4.3.3.3.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Operation / Resetting Devices
   */
  async writeStatus(value: number): Promise<void> {
    if (value === 0) {
      await this.#channel.reopen();
      await this.#channel.issue('VDEV_RESET');
      this.#status = 0;
      this.#queues = 0;
      this.#indicators.forget();
      return;
    }
    if ((value & status.DRIVER_OK) !== 0 && this.#queues > 0) await this.#indicators.set(this.#queues);
    const data = device_status.encode({ status: value });
    if ((await this.#channel.tryIssue('WRITE_STATUS', { data })) !== undefined) this.#status = value;
  }

  /** A device may be older than a field, and its configuration end before it: that reads as 0. */
  async readConfig(offset: number, length: number): Promise<Uint8Array> {
    const read = await this.#readConfigTo(offset + length);
    const bytes = new Uint8Array(length);
    bytes.set(read.subarray(offset, offset + length));
    return bytes;
  }

  /** Transmits the configuration up to the field: what stands before it as it was read. */
  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    const end = offset + bytes.length;
    const data = new Uint8Array(end);
    if (offset > 0) data.set(await this.#readConfigTo(offset));
    data.set(bytes, offset);
    await this.#channel.issue('WRITE_CONF', { data });
    this.#config.set(
      bytes.subarray(0, Math.max(0, this.#config.length - offset)),
      Math.min(offset, this.#config.length),
    );
  }

  /** There is none on this bus: what was read before is read again, and compared. */
  async configGeneration(): Promise<number> {
    if (this.#legacy !== undefined) return 0;
    if (this.#config.length > 0) await this.#readConfigTo(this.#config.length);
    return this.#generation;
  }

  /** @throws {PeerError} LAYOUT_INVALID for a size above 32768. */
  async queueMaxSize(index: number): Promise<number> {
    const answer = await this.#channel.ask('READ_VQ_CONF', { data: vq_config_block.encode({ index }) });
    if (answer === undefined) return 0;
    const size = vq_config_block.read(dataView(answer)).max_queue_size;
    if (size > largestQueue) {
      throw new PeerError('LAYOUT_INVALID', `queue ${index} of the ccw device has ${size} descriptors`);
    }
    return size;
  }

  async enableQueue(index: number, areas: QueueAreas): Promise<void> {
    const { size, descriptor, driver, device } = areas;
    const modern = { index, size, desc: BigInt(descriptor), driver: BigInt(driver), device: BigInt(device) };
    const data = this.#legacy?.queueBlock(index, areas) ?? vq_info_block.encode(modern);
    await this.#channel.issue('SET_VQ', { data });
    this.#queues = Math.max(this.#queues, index + 1);
  }

  /** @throws {UsageError} NOT_NEGOTIATED, always: Channel I/O does not carry VIRTIO_F_RING_RESET. */
  async resetQueue(index: number): Promise<void> {
    throw new UsageError('NOT_NEGOTIATED', `queue ${index} cannot be reset: Channel I/O has no queue reset`);
  }

  /** @spec 4.3.3.2.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Operation / Guest->Host Notification */
  kick(index: number, data: number | undefined): void {
    const word = data === undefined ? index : ((data << 16) | index) >>> 0;
    this.#io.notify(this.#schid, word, this.#cookies[index] ?? 0n).then(
      (cookie) => {
        if (cookie >= 0n) this.#cookies[index] = cookie;
        else
          this.lost(new PeerError('BAD_RESPONSE', `the notification of queue ${index} ended with ${cookie}`));
      },
      (error: unknown) => this.lost(error),
    );
  }

  listen(listener: NotificationListener | undefined): void {
    this.#indicators.listener = listener;
  }

  /** Resets the device and disables its subchannel. The next reset enables it again, at the same revision. */
  async close(): Promise<void> {
    this.listen(undefined);
    if (this.#channel.closed) return;
    try {
      await this.writeStatus(0);
    } finally {
      this.#indicators.free();
      await this.#channel.close();
    }
  }

  /** @internal The subchannel had status. */
  interrupted(): void {
    this.#indicators.interrupted();
  }

  /** @internal */
  adapterInterrupt(isc: number): void {
    this.#indicators.adapter(isc);
  }

  /** @internal What nobody waits for has failed. */
  lost(error: unknown): void {
    const reason = error instanceof Error ? error : new PeerError('BAD_RESPONSE', String(error));
    this.#indicators.listener?.gone?.(reason);
  }

  async #readConfigTo(end: number): Promise<Uint8Array> {
    const read = await this.#channel.ask('READ_CONF', { length: end, suppressLength: true });
    // Who asks a device that was let go is told what it said last.
    if (read === undefined) return this.#config;
    const known = Math.min(read.length, this.#config.length);
    let changed = false;
    for (let at = 0; at < known; at++) if (read[at] !== this.#config[at]) changed = true;
    if (changed) this.#generation++;
    // What lies behind a shorter reading is kept: it is compared when it is read again.
    if (read.length >= this.#config.length) this.#config = read;
    else this.#config.set(read);
    return read;
  }
}
