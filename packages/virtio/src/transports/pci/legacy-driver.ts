import type { LegacyTransport, Transport } from '../../driver/transport.ts';
import { UsageError } from '../../errors.ts';
import { FeatureSet, type ReservedFeatureName } from '../../spec/features.ts';
import type { Endian } from '../../spec/guest-endian.ts';
import { status } from '../../spec/status.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { PciAccess } from './access.ts';
import { findMsix, invalid, type PciStructure } from './capabilities.ts';
import { DriverInterrupts } from './driver-interrupts.ts';
import { enableFunction, FunctionDriver, findFunction, type PciTransportOptions } from './function-driver.ts';
import {
  type LegacyRegister,
  legacyBar,
  legacyConfigOffset,
  legacyPageSize,
  legacyRegisters,
} from './legacy-registers.ts';
import { maxMsixVectors, pci_header } from './pci-registers.ts';
import { RegisterAccess, readBytes, writeBytes } from './register-access.ts';
import { deviceIdBase } from './registers.ts';

/** How a driver wants the legacy interface of its PCI function. */
export interface LegacyPciOptions extends Omit<PciTransportOptions, 'window' | 'deviations'> {
  /** The byte order of the guest, 'little' unless told: of rings, messages and the device's own configuration. */
  readonly endian?: Endian;
}

const { register } = legacyRegisters;

/** The driver's end of a legacy or a transitional PCI function by its legacy interface: what `open` needs. */
export class LegacyPciTransport extends FunctionDriver implements Transport {
  readonly carries: readonly ReservedFeatureName[] = ['INDIRECT_DESC', 'EVENT_IDX'];
  readonly legacy: LegacyTransport;

  readonly #registers: RegisterAccess<LegacyRegister>;
  /** Bytes of BAR 0. */
  readonly #size: number;
  /** Queues that were ever enabled: a stray kick after a reset is the device's to refuse. */
  readonly #enabled = new Set<number>();

  private constructor(parts: {
    readonly access: PciAccess;
    readonly deviceId: number;
    readonly registers: RegisterAccess<LegacyRegister>;
    readonly size: number;
    readonly endian: Endian;
    readonly interrupts: DriverInterrupts;
  }) {
    super(parts);
    this.#registers = parts.registers;
    this.#size = parts.size;
    this.legacy = { endian: parts.endian, queueAlign: legacyPageSize, sizeIsFixed: true };
  }

  /**
   * Finds the legacy structure in BAR 0, lets the function answer and use memory, and sets its interrupts up. The
   * device itself is not touched.
   *
   * @throws {UsageError} BAD_ARGUMENT when the function is no virtio device, or no interrupt can be had.
   * @throws {PeerError} LAYOUT_INVALID when it has no legacy interface.
   */
  static async open(access: PciAccess, options: LegacyPciOptions = {}): Promise<LegacyPciTransport> {
    const { deviceId, bars } = await findFunction(access, options);
    const bar = bars.find(({ index }) => index === legacyBar);
    const id = await access.configRead(pci_header.field.device_id.offset, 2);
    const revision = await access.configRead(pci_header.field.revision_id.offset, 1);
    const without = 'so it has no legacy interface';
    if (id >= deviceIdBase) throw invalid(`it has the PCI Device ID 0x${id.toString(16)}, ${without}`);
    if (revision !== 0) throw invalid(`it has revision ${revision} instead of 0, ${without}`);
    if (bar?.kind !== 'io') throw invalid(`its BAR 0 is not one of I/O ports, ${without}`);
    if (bar.address === 0) throw invalid('its BAR 0 has no place: give `room`');
    if (bar.size < legacyRegisters.size) throw invalid(`its BAR 0 has ${bar.size} ports`);
    await enableFunction(access, bars);
    let transport: LegacyPciTransport | undefined;
    const registers = new RegisterAccess(access, { bar: legacyBar, offset: 0 }, register);
    const interrupts = await DriverInterrupts.start({
      access,
      common: registers,
      readIsr: () => registers.read('isr_status'),
      msix: await findMsix(
        access,
        bars.filter(({ address }) => address !== 0),
      ),
      mostVectors: options.vectors ?? maxMsixVectors,
      onError: (error) => transport?.lost(error),
    });
    const { endian = 'little' } = options;
    transport = new LegacyPciTransport({ access, deviceId, registers, size: bar.size, endian, interrupts });
    return transport;
  }

  async readDeviceFeatures(): Promise<FeatureSet> {
    return FeatureSet.fromWords([await this.#registers.read('device_features')]);
  }

  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.#registers.write('driver_features', features.word(0));
  }

  async writeStatus(value: number): Promise<void> {
    await this.inTurn(async () => {
      await this.#registers.write('device_status', value);
      if (value === 0) {
        this.wiring.forgetAll();
        this.maxSizes.clear();
      } else if ((value & (status.DRIVER | status.DRIVER_OK)) === status.DRIVER) {
        await this.wiring.mapConfig();
      }
    });
  }

  readConfig(offset: number, length: number): Promise<Uint8Array> {
    return readBytes(this.access, this.#config, offset, length);
  }

  writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    return this.inTurn(() => writeBytes(this.access, this.#config, offset, bytes));
  }

  async configGeneration(): Promise<number> {
    return 0;
  }

  /** @throws {UsageError} BAD_ARGUMENT for a queue whose page has a number of more than 32 bits. */
  enableQueue(index: number, { descriptor }: QueueAreas): Promise<void> {
    return this.inTurn(async () => {
      const page = descriptor / legacyPageSize;
      if (!Number.isInteger(page) || page === 0 || page >= 2 ** 32) {
        throw new UsageError('BAD_ARGUMENT', `a legacy queue cannot be at 0x${descriptor.toString(16)}`);
      }
      await this.#registers.write('queue_select', index);
      await this.wiring.mapQueue(index);
      await this.#registers.write('queue_address', page);
      this.#enabled.add(index);
    });
  }

  /** @throws {UsageError} NOT_NEGOTIATED always: the legacy interface has no queue reset. */
  async resetQueue(): Promise<void> {
    throw new UsageError('NOT_NEGOTIATED', 'the legacy interface has no queue reset');
  }

  kick(index: number): void {
    if (!this.#enabled.has(index)) {
      throw new UsageError('BAD_STATE', `queue ${index} was kicked and never enabled`);
    }
    const { offset, width } = register.queue_notify;
    this.access.barWriteNow(legacyBar, offset, width, index);
  }

  /** The device's own configuration, which moves as MSI-X is switched on or off. */
  get #config(): PciStructure {
    const offset = legacyConfigOffset(this.wiring.choice === 'msix');
    return { bar: legacyBar, offset, length: this.#size - offset };
  }
}
