import type { AdminQueues, Deviation, Transport } from '../../driver/transport.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { deviceMistakes } from '../../peer-errors.ts';
import { FeatureSet, featureWords, type ReservedFeatureName, reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { PciAccess } from './access.ts';
import {
  invalid,
  type PciCapabilities,
  type PciStructure,
  readCapabilities,
  type VendorData,
} from './capabilities.ts';
import { ConfigWindow } from './config-window.ts';
import { DriverInterrupts } from './driver-interrupts.ts';
import { enableFunction, FunctionDriver, findFunction, type PciTransportOptions } from './function-driver.ts';
import { maxMsixVectors } from './pci-registers.ts';
import { type BarPath, RegisterAccess, readBytes, writeBytes } from './register-access.ts';
import { type CommonRegister, commonRegisters, virtio_pci_common_cfg } from './registers.ts';

/** How often a queue's reset is looked for. */
const resetTries = 1000;

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

/** The driver's end of a virtio PCI function: what `open` needs. */
export class PciTransport extends FunctionDriver implements Transport {
  readonly carries: readonly ReservedFeatureName[];
  /** What the function's capabilities tell. */
  readonly capabilities: PciCapabilities;

  readonly #path: BarPath;
  readonly #common: RegisterAccess<CommonRegister>;
  readonly #doorbells = new Map<number, Doorbell>();
  #features = FeatureSet.empty;

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
    super({ ...parts, registers: parts.common });
    this.#path = parts.path;
    this.#common = parts.common;
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
    const { deviceId, bars } = await findFunction(access, options);
    const reachable = options.window === true ? bars : bars.filter(({ address }) => address !== 0);
    const capabilities = await readCapabilities(access, reachable);
    await enableFunction(access, reachable);
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
    return transport;
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
    return this.inTurn(async () => {
      const words: number[] = [];
      for (let word = 0; word < featureWords; word++) {
        await this.#common.write('device_feature_select', word);
        words.push(await this.#common.read('device_feature'));
      }
      return FeatureSet.fromWords(words);
    });
  }

  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.inTurn(async () => {
      for (let word = 0; word < featureWords; word++) {
        await this.#common.write('driver_feature_select', word);
        await this.#common.write('driver_feature', features.word(word));
      }
      this.#features = features;
    });
  }

  async writeStatus(value: number): Promise<void> {
    await this.inTurn(async () => {
      await this.#common.write('device_status', value);
      if ((value & status.DRIVER_OK) === 0) this.maxSizes.clear();
      if (value === 0) {
        this.wiring.forgetAll();
        this.#features = FeatureSet.empty;
      } else if ((value & (status.FEATURES_OK | status.DRIVER_OK)) === status.FEATURES_OK) {
        await this.wiring.mapConfig();
      }
    });
  }

  /** @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout */
  async readConfig(offset: number, length: number): Promise<Uint8Array> {
    return await readBytes(this.#path, this.#deviceStructure(), offset, length);
  }

  /** @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout */
  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    await writeBytes(this.#path, this.#deviceStructure(), offset, bytes);
  }

  configGeneration(): Promise<number> {
    return this.#common.read('config_generation');
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
    return this.inTurn(async () => {
      const common = this.#common;
      await common.write('queue_select', index);
      await this.readMaxSize(index);
      await common.write('queue_size', areas.size);
      await common.write('queue_desc_lo', areas.descriptor % 2 ** 32);
      await common.write('queue_desc_hi', Math.floor(areas.descriptor / 2 ** 32));
      await common.write('queue_driver_lo', areas.driver % 2 ** 32);
      await common.write('queue_driver_hi', Math.floor(areas.driver / 2 ** 32));
      await common.write('queue_device_lo', areas.device % 2 ** 32);
      await common.write('queue_device_hi', Math.floor(areas.device / 2 ** 32));
      this.#doorbells.set(index, await this.#doorbell(index));
      await this.wiring.mapQueue(index);
      await common.write('queue_enable', 1);
    });
  }

  /**
   * @throws {PeerError} RESET_INCOMPLETE when the device never finishes.
   * @spec 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
   */
  resetQueue(index: number): Promise<void> {
    return this.inTurn(async () => {
      await this.#common.write('queue_select', index);
      await this.#common.write('queue_reset', 1);
      for (let tries = 0; tries < resetTries; tries++) {
        if ((await this.#common.read('queue_reset')) !== 0) continue;
        if ((await this.#common.read('queue_enable')) !== 0) continue;
        this.wiring.forgetQueue(index);
        this.maxSizes.delete(index);
        return;
      }
      throw new PeerError(
        'RESET_INCOMPLETE',
        `the PCI function never finished the reset of queue ${index}`,
        deviceMistakes.RESET_INCOMPLETE,
      );
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
}

function openWindow(
  access: PciAccess,
  { window }: PciCapabilities,
  onError: (error: unknown) => void,
): ConfigWindow {
  if (window === undefined) throw invalid('it has no PCI_CFG capability');
  return new ConfigWindow(access, window, onError);
}
