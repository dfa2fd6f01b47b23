import { readField, writeField } from '../../driver/config-access.ts';
import type { AdminQueues, Deviation, NotificationListener, Transport } from '../../driver/transport.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { FeatureSet, featureWords, type ReservedFeatureName, reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { PciAccess } from './access.ts';
import { assignBars, type BarRoom, type FoundBar, probeBars } from './bar-probe.ts';
import {
  type PciCapabilities,
  type PciStructure,
  readCapabilities,
  type VendorData,
} from './capabilities.ts';
import { ConfigWindow } from './config-window.ts';
import { DriverInterrupts, type InterruptChoice } from './driver-interrupts.ts';
import { commandBit, maxMsixVectors, pci_header } from './pci-registers.ts';
import { type BarPath, RegisterAccess } from './register-access.ts';
import {
  type CommonRegister,
  commonRegisters,
  deviceIdBase,
  virtio_pci_common_cfg,
  virtioVendorId,
} from './registers.ts';

/** How a driver wants its PCI function. */
export interface PciTransportOptions {
  /** Where to put BARs that nobody has placed; unless told, they stay where they are. */
  readonly room?: BarRoom;
  /** Reach everything through the PCI_CFG capability, and no BAR: false unless told. MSI-X is not used then. */
  readonly window?: boolean;
  /** The most MSI-X vectors to use; 0 is INTx. As many as the function has, unless told. */
  readonly vectors?: number;
  /** Known of the device; none unless told. */
  readonly deviations?: readonly Deviation[];
}

/** The first PCI Device ID of transitional devices, whose subsystem id is the device type. */
const transitionalIdBase = 0x1000;

/** How often a queue's reset is looked for. */
const resetTries = 1000;

/** The largest Queue Size that there is (2.7, 2.8). */
const largestQueue = 32768;

/** Features that need no field of the common configuration. */
const carriesAlways: readonly ReservedFeatureName[] = [
  'INDIRECT_DESC',
  'EVENT_IDX',
  'VERSION_1',
  'ACCESS_PLATFORM',
  'RING_PACKED',
  'IN_ORDER',
  'ORDER_PLATFORM',
  'NOTIFICATION_DATA',
  'SUSPEND',
];

/** Where and how a queue is kicked. */
interface Doorbell {
  readonly offset: number;
  /** The low 16 bits of a notification. */
  readonly value: number;
}

/**
 * The virtio device id of a function by its ids, whatever its revision; `undefined` when it is no virtio
 * device.
 *
 * @spec 4.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
 */
export function virtioDeviceId(ids: {
  readonly vendor: number;
  readonly device: number;
  /** The PCI Subsystem Device ID. */
  readonly subsystem: number;
}): number | undefined {
  if (ids.vendor !== virtioVendorId) return undefined;
  if (ids.device >= deviceIdBase && ids.device < deviceIdBase + 0x40) return ids.device - deviceIdBase;
  return ids.device >= transitionalIdBase && ids.device < deviceIdBase ? ids.subsystem : undefined;
}

/** The driver's end of a virtio PCI function: what `open` needs. */
export class PciTransport implements Transport {
  readonly deviceId: number;
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly carries: readonly ReservedFeatureName[];
  readonly deviations: readonly Deviation[] | undefined;
  /** What the function's capabilities tell. */
  readonly capabilities: PciCapabilities;

  readonly #access: PciAccess;
  readonly #path: BarPath;
  readonly #common: RegisterAccess<CommonRegister>;
  readonly #interrupts: DriverInterrupts;
  readonly #doorbells = new Map<number, Doorbell>();
  /** `queue_size` shows the largest size until another is written there. */
  readonly #maxSizes = new Map<number, number>();
  #features = FeatureSet.empty;
  #last: Promise<unknown> = Promise.resolve();

  /** @internal Use {@link PciTransport.open}. */
  constructor(parts: {
    readonly access: PciAccess;
    readonly deviceId: number;
    readonly capabilities: PciCapabilities;
    readonly path: BarPath;
    readonly common: RegisterAccess<CommonRegister>;
    readonly interrupts: DriverInterrupts;
    readonly deviations?: readonly Deviation[] | undefined;
  }) {
    this.#access = parts.access;
    this.#path = parts.path;
    this.#common = parts.common;
    this.#interrupts = parts.interrupts;
    this.deviceId = parts.deviceId;
    this.deviations = parts.deviations;
    this.memory = parts.access.memory;
    this.allocator = parts.access.allocator;
    this.capabilities = parts.capabilities;
    const has = (field: 'queue_notif_config_data' | 'queue_reset' | 'admin_queue_num'): boolean => {
      const { offset, size } = virtio_pci_common_cfg.field[field];
      return parts.capabilities.common.length >= offset + size;
    };
    // These features have fields that an older, shorter structure does not have.
    this.carries = [
      ...carriesAlways,
      ...(has('queue_notif_config_data') ? (['NOTIF_CONFIG_DATA'] as const) : []),
      ...(has('queue_reset') ? (['RING_RESET'] as const) : []),
      ...(has('admin_queue_num') ? (['ADMIN_VQ'] as const) : []),
    ];
  }

  /**
   * Finds the function's structures, lets it answer and use memory, and sets its interrupts up. The device
   * itself is not touched.
   *
   * @throws {UsageError} BAD_ARGUMENT when the function is no virtio device, or no interrupt can be had.
   * @throws {PeerError} LAYOUT_INVALID when its capabilities lead nowhere, or it is a legacy device.
   */
  static async open(access: PciAccess, options: PciTransportOptions = {}): Promise<PciTransport> {
    const deviceId = await readDeviceId(access);
    const found = await probeBars(access);
    const bars = options.room === undefined ? found : await assignBars(access, found, options.room);
    const reachable = options.window === true ? bars : bars.filter(({ address }) => address !== 0);
    const capabilities = await readCapabilities(access, reachable);
    await enable(access, reachable);
    let transport: PciTransport | undefined;
    const onError = (error: unknown): void => transport?.lost(error);
    const path = options.window === true ? openWindow(access, capabilities, onError) : access;
    const common = new RegisterAccess(path, capabilities.common, commonRegisters.register);
    const { isr } = capabilities;
    const interrupts = await DriverInterrupts.start({
      access,
      common,
      readIsr: () => path.barRead(isr.bar, isr.offset, 1),
      // The window may be used for the virtio structures alone, and the MSI-X table is none.
      msix: options.window === true ? undefined : capabilities.msix,
      mostVectors: options.vectors ?? maxMsixVectors,
      onError,
    });
    const { deviations } = options;
    transport = new PciTransport({ access, deviceId, capabilities, path, common, interrupts, deviations });
    access.listenGone?.(onError);
    return transport;
  }

  /** The interrupts in use now: a device may refuse vectors until INTx is left. */
  get interrupts(): { readonly choice: InterruptChoice; readonly vectors: number } {
    return { choice: this.#interrupts.choice, vectors: this.#interrupts.vectorsInUse };
  }

  /** Where a shared memory region is, by its id. */
  sharedMemory(id: number): PciStructure | undefined {
    return this.capabilities.sharedMemory.get(id);
  }

  /** Vendor data, for reports. */
  get vendorData(): readonly VendorData[] {
    return this.capabilities.vendorData;
  }

  readDeviceFeatures(): Promise<FeatureSet> {
    return this.#inTurn(async () => {
      const words: number[] = [];
      for (let word = 0; word < featureWords; word++) {
        await this.#common.write('device_feature_select', word);
        words.push(await this.#common.read('device_feature'));
      }
      return FeatureSet.fromWords(words);
    });
  }

  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.#inTurn(async () => {
      for (let word = 0; word < featureWords; word++) {
        await this.#common.write('driver_feature_select', word);
        await this.#common.write('driver_feature', features.word(word));
      }
      this.#features = features;
    });
  }

  /** @throws {HostError} DEVICE_GONE when the function does not answer any more. */
  async readStatus(): Promise<number> {
    const value = await this.#common.read('device_status');
    if (value === 0xff && (await this.#access.configRead(pci_header.field.vendor_id.offset, 2)) === 0xffff) {
      throw new HostError('DEVICE_GONE', 'the PCI function does not answer');
    }
    return value;
  }

  async writeStatus(value: number): Promise<void> {
    await this.#inTurn(async () => {
      await this.#common.write('device_status', value);
      if ((value & status.DRIVER_OK) === 0) this.#maxSizes.clear();
      if (value === 0) {
        this.#interrupts.forgetAll();
        this.#features = FeatureSet.empty;
      } else if ((value & (status.FEATURES_OK | status.DRIVER_OK)) === status.FEATURES_OK) {
        await this.#interrupts.mapConfig();
      }
    });
  }

  /** @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout */
  async readConfig(offset: number, length: number): Promise<Uint8Array> {
    const structure = this.#deviceStructure();
    // A device may be older than a field, and its structure end before it: that reads as 0.
    return readField(length, async (at, width) =>
      offset + at + width <= structure.length
        ? this.#path.barRead(structure.bar, structure.offset + offset + at, width)
        : 0,
    );
  }

  /** @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout */
  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    const structure = this.#deviceStructure();
    await writeField(bytes, (at, width, value) =>
      this.#path.barWrite(structure.bar, structure.offset + offset + at, width, value),
    );
  }

  configGeneration(): Promise<number> {
    return this.#common.read('config_generation');
  }

  /** @throws {PeerError} LAYOUT_INVALID for a size above 32768. */
  queueMaxSize(index: number): Promise<number> {
    return this.#inTurn(async () => {
      await this.#common.write('queue_select', index);
      return await this.#readMaxSize(index);
    });
  }

  /** @throws {PeerError} LAYOUT_INVALID when they overlap the other queues, or leave the 16 bits of an index. */
  async adminQueues(): Promise<AdminQueues> {
    const index = await this.#common.read('admin_queue_index');
    const count = await this.#common.read('admin_queue_num');
    if (index < (await this.#common.read('num_queues')) || index + count > 0x1_0000) {
      throw invalid(`its ${count} administration virtqueues begin at ${index}`);
    }
    return { index, count };
  }

  /**
   * Sets a queue up and enables it, last of all.
   *
   * @throws {PeerError} LAYOUT_INVALID when the queue's notification address is outside its structure.
   * @spec 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
   */
  enableQueue(index: number, areas: QueueAreas): Promise<void> {
    return this.#inTurn(async () => {
      const common = this.#common;
      await common.write('queue_select', index);
      await this.#readMaxSize(index);
      await common.write('queue_size', areas.size);
      await common.write('queue_desc_lo', areas.descriptor % 2 ** 32);
      await common.write('queue_desc_hi', Math.floor(areas.descriptor / 2 ** 32));
      await common.write('queue_driver_lo', areas.driver % 2 ** 32);
      await common.write('queue_driver_hi', Math.floor(areas.driver / 2 ** 32));
      await common.write('queue_device_lo', areas.device % 2 ** 32);
      await common.write('queue_device_hi', Math.floor(areas.device / 2 ** 32));
      this.#doorbells.set(index, await this.#doorbell(index));
      await this.#interrupts.mapQueue(index);
      await common.write('queue_enable', 1);
    });
  }

  /**
   * @throws {PeerError} RESET_INCOMPLETE when the device never finishes.
   * @spec 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
   */
  resetQueue(index: number): Promise<void> {
    return this.#inTurn(async () => {
      await this.#common.write('queue_select', index);
      await this.#common.write('queue_reset', 1);
      for (let tries = 0; tries < resetTries; tries++) {
        if ((await this.#common.read('queue_reset')) !== 0) continue;
        if ((await this.#common.read('queue_enable')) !== 0) continue;
        this.#interrupts.forgetQueue(index);
        this.#maxSizes.delete(index);
        return;
      }
      throw new PeerError('RESET_INCOMPLETE', `the PCI function never finished the reset of queue ${index}`);
    });
  }

  /** @spec 4.1.5.2.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Available Buffer Notifications */
  kick(index: number, data: number | undefined): void {
    // A queue keeps its address over a reset.
    const doorbell = this.#doorbells.get(index);
    if (doorbell === undefined)
      throw new UsageError('BAD_STATE', `queue ${index} was kicked and never enabled`);
    const { bar } = this.capabilities.notify;
    if (data === undefined) this.#path.barWriteNow(bar, doorbell.offset, 2, doorbell.value);
    else this.#path.barWriteNow(bar, doorbell.offset, 4, ((data << 16) | doorbell.value) >>> 0);
  }

  listen(listener: NotificationListener | undefined): void {
    this.#interrupts.listener = listener;
  }

  /** Resets the device and takes from the function what `open` gave it: interrupts and the use of memory. */
  async close(): Promise<void> {
    await this.writeStatus(0);
    await this.#interrupts.stop();
    const { offset } = pci_header.field.command;
    const command = await this.#access.configRead(offset, 2);
    await this.#access.configWrite(offset, 2, command & ~commandBit.BUS_MASTER);
  }

  /** @internal An access that nobody waits for has failed. */
  lost(error: unknown): void {
    const reason = error instanceof Error ? error : new HostError('DEVICE_GONE', String(error));
    this.#interrupts.listener?.gone?.(reason);
  }

  /** The largest size of the queue that is selected. */
  async #readMaxSize(index: number): Promise<number> {
    const known = this.#maxSizes.get(index);
    if (known !== undefined) return known;
    const size = await this.#common.read('queue_size');
    if (size > largestQueue) throw invalid(`its queue ${index} has ${size} descriptors`);
    this.#maxSizes.set(index, size);
    return size;
  }

  async #doorbell(index: number): Promise<Doorbell> {
    const { offset, length, multiplier } = this.capabilities.notify;
    const at = (await this.#common.read('queue_notify_off')) * multiplier;
    const width = this.#has('NOTIFICATION_DATA') ? 4 : 2;
    if (at + width > length || (offset + at) % width !== 0) {
      throw invalid(
        `queue ${index} is notified by ${width} bytes at ${at} of a structure of ${length} at ${offset}`,
      );
    }
    const value = this.#has('NOTIF_CONFIG_DATA') ? await this.#common.read('queue_notif_config_data') : index;
    return { offset: offset + at, value };
  }

  #has(feature: ReservedFeatureName): boolean {
    return this.#features.has(reservedFeatures[feature]);
  }

  #deviceStructure(): PciStructure {
    const { device } = this.capabilities;
    if (device === undefined) throw invalid('it has no device configuration structure');
    return device;
  }

  /** What selects a queue or a word goes on to use it, so such tasks take turns. */
  #inTurn<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}

async function readDeviceId(access: PciAccess): Promise<number> {
  const { vendor_id, device_id, subsystem_id } = pci_header.field;
  const vendor = await access.configRead(vendor_id.offset, 2);
  const device = await access.configRead(device_id.offset, 2);
  const deviceId = virtioDeviceId({
    vendor,
    device,
    subsystem: await access.configRead(subsystem_id.offset, 2),
  });
  if (deviceId !== undefined) return deviceId;
  throw new UsageError(
    'BAD_ARGUMENT',
    `PCI function ${vendor.toString(16)}:${device.toString(16)} is no virtio device`,
  );
}

/** Lets the function answer where its BARs are, and use memory. */
async function enable(access: PciAccess, bars: readonly FoundBar[]): Promise<void> {
  const { offset } = pci_header.field.command;
  const placed = bars.filter(({ address }) => address !== 0);
  const spaces = placed.map(({ kind }) => (kind === 'io' ? commandBit.IO_SPACE : commandBit.MEMORY_SPACE));
  const bits = spaces.reduce<number>((all, bit) => all | bit, commandBit.BUS_MASTER);
  await access.configWrite(offset, 2, (await access.configRead(offset, 2)) | bits);
}

function openWindow(
  access: PciAccess,
  { window }: PciCapabilities,
  onError: (error: unknown) => void,
): ConfigWindow {
  if (window === undefined) throw invalid('it has no PCI_CFG capability');
  return new ConfigWindow(access, window, onError);
}

function invalid(what: string): PeerError {
  return new PeerError('LAYOUT_INVALID', `the PCI function: ${what}`);
}
