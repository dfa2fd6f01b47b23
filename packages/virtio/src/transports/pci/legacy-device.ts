import type { DeviceCore } from '../../device/core.ts';
import { type LegacyInterface, legacyInterface } from '../../device/legacy.ts';
import { LegacyConfig } from '../../device/legacy-config.ts';
import { placeLegacyQueue } from '../../device/legacy-queue.ts';
import { RegisterBank } from '../../device/register-bank.ts';
import { useLegacy } from '../../device/use-legacy.ts';
import { UsageError } from '../../errors.ts';
import type { DeviceType } from '../../spec/device-type.ts';
import type { Endian } from '../../spec/guest-endian.ts';
import type { Register } from '../../spec/registers.ts';
import { status } from '../../spec/status.ts';
import type { BarContent } from './bar.ts';
import type { CommonConfig } from './common-config.ts';
import type { Interrupts } from './interrupts.ts';
import {
  type LegacyRegister,
  legacyBar,
  legacyConfigOffset,
  legacyPageSize,
  legacyRegisters,
  transitionalIds,
} from './legacy-registers.ts';
import type { MsixTable } from './msix-table.ts';
import type { BarKind } from './pci-registers.ts';
import { refuse } from './refuse.ts';
import { commonRegisters } from './registers.ts';

/** How a function serves legacy drivers. */
export interface PciLegacyOptions {
  /** The byte order of the guest, 'little' unless told: of rings, messages and the device's own configuration. */
  readonly endian?: Endian;
}

/** The legacy interface of a function: `transitional()`, `legacyOnly()` or `ownersLegacy()`. */
export interface PciLegacySupport {
  /** @internal */
  readonly interface: LegacyInterface;
  /** @internal Modern drivers are served as well. */
  readonly transitional: boolean;
  /** @internal Where what drivers reach is. */
  readonly bar: { readonly bar: number; readonly kind: BarKind };
  /** @internal Where in it they notify queues, in bytes. */
  readonly notifyOffset: number;
  /** @internal Where the modern structures are, unless told. */
  readonly mainBar: { readonly bar: number; readonly kind: BarKind };
  /** @internal What the header says, by which legacy drivers know the device; absent for a modern header. */
  ids?(type: DeviceType, given: GivenIds): LegacyIds;
  /** @internal */
  makeRegisters(parts: LegacyParts): LegacyRegisters;
}

/** Fields of the configuration header. */
export interface LegacyIds {
  readonly device_id: number;
  readonly revision_id: number;
  readonly subsystem_id: number;
}

/** The function's options that would contradict them. */
interface GivenIds {
  readonly revision?: number | undefined;
  readonly subsystemId?: number | undefined;
}

/** What the legacy structure shows, which it shares with the modern ones. */
export interface LegacyParts {
  readonly core: DeviceCore;
  readonly common: CommonConfig;
  readonly interrupts: Interrupts;
  readonly msix: MsixTable | undefined;
  /** Sets Bus Master; true when it was off. */
  readonly becomeMaster: () => boolean;
  /** Behind the BAR are notifications alone: the owner reaches the rest. */
  readonly ownersOnly?: boolean;
}

/**
 * A transitional device, for drivers of both kinds: the legacy structure is in BAR 0, in I/O ports, and the modern ones
 * are in BAR 1 unless told. From a legacy driver's first use of it until the next reset the device follows its rules.
 *
 * @example
 * new PciFunction(blkDevice({ storage }), { memory, legacy: transitional() });
 *
 * @spec 4.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
 */
export const transitional = (options: PciLegacyOptions = {}): PciLegacySupport => ({
  ...legacySupport(options),
  ids: legacyIds,
});

/** A legacy device, as there were before virtio 1.0: no virtio capability, so no modern driver takes it. */
export const legacyOnly = (options: PciLegacyOptions = {}): PciLegacySupport => ({
  ...legacySupport(options),
  ids: legacyIds,
  transitional: false,
});

/** @internal */
export function legacySupport({ endian = 'little' }: PciLegacyOptions): PciLegacySupport {
  return {
    interface: legacyInterface(endian),
    transitional: true,
    bar: { bar: legacyBar, kind: 'io' },
    notifyOffset: legacyRegisters.register.queue_notify.offset,
    mainBar: { bar: legacyBar + 1, kind: 'memory32' },
    makeRegisters: (parts) => new LegacyRegisters(parts),
  };
}

/** @throws {UsageError} BAD_ARGUMENT for a type that legacy drivers do not know, or for ids that contradict it. */
function legacyIds({ id, name }: DeviceType, { revision, subsystemId }: GivenIds): LegacyIds {
  if ((revision ?? subsystemId) !== undefined) {
    refuse("a legacy driver's device has the revision and subsystemId of its type");
  }
  const device_id = transitionalIds[id];
  if (device_id === undefined) {
    throw new UsageError('BAD_ARGUMENT', `the ${name} device has no Transitional PCI Device ID`);
  }
  return { device_id, revision_id: 0, subsystem_id: id };
}

/** The device's side of the legacy configuration structure (4.1.4.10), the device's own configuration behind it. */
export class LegacyRegisters implements BarContent {
  /** Bytes, up to where the configuration ends while MSI-X is enabled. */
  readonly length: number;

  readonly #parts: LegacyParts;
  readonly #config: LegacyConfig;
  readonly #bank: RegisterBank<LegacyRegister>;

  constructor(parts: LegacyParts) {
    const { core } = parts;
    this.#parts = parts;
    this.#config = new LegacyConfig(core);
    this.length = legacyRegisters.size + this.#config.size;
    const read = ({ name }: Register<LegacyRegister>): number => this.#read(name);
    const write = ({ name }: Register<LegacyRegister>, value: number): void => this.#write(name, value);
    this.#bank = new RegisterBank(legacyRegisters, { read, write }, core);
  }

  /** Where the device's own configuration begins now. */
  get configOffset(): number {
    return legacyConfigOffset(this.#parts.msix?.enabled === true);
  }

  /** What stands behind the BAR. */
  get placed(): BarContent & { readonly length: number } {
    return this.#parts.ownersOnly ? this.#notifications : this;
  }

  read(offset: number, width: number): number {
    const at = offset - this.configOffset;
    if (at < 0) return this.#bank.read(offset, width);
    useLegacy(this.#parts.core);
    return this.#config.read(at, width);
  }

  write(offset: number, width: number, value: number): void {
    const at = offset - this.configOffset;
    if (at < 0) this.#bank.write(offset, width, value);
    else if (useLegacy(this.#parts.core)) this.#config.write(at, width, value);
  }

  #read(name: LegacyRegister): number {
    const { core, common, interrupts } = this.#parts;
    // Neither tells the drivers apart.
    if (name === 'isr_status') return interrupts.takeIsr();
    if (name === 'device_status') return core.status;
    useLegacy(core);
    switch (name) {
      case 'device_features':
        return core.offered.word(0);
      case 'driver_features':
        return core.driverFeatures.word(0);
      case 'queue_address': {
        const { queue } = common.control;
        return queue?.enabled === true ? Math.floor(queue.descriptor / legacyPageSize) % 2 ** 32 : 0;
      }
      case 'queue_notify':
        return 0;
      default:
        return common.read(commonRegisters.register[name]);
    }
  }

  #write(name: LegacyRegister, value: number): void {
    const { core, common, becomeMaster } = this.#parts;
    const isReset = name === 'device_status' && value === 0;
    // A reset is any driver's to ask for, whichever interface was used before.
    if (!isReset && !useLegacy(core)) return;
    switch (name) {
      case 'driver_features':
        core.writeDriverFeatures(0, value);
        return;
      case 'queue_address':
        placeLegacyQueue(core, common.control, name, value * legacyPageSize, legacyPageSize);
        return;
      case 'queue_notify':
        this.#notify(value);
        return;
      case 'device_status':
        // Drivers of that time often left the bit to the firmware, and the firmware to them.
        if ((value & status.DRIVER) !== 0 && becomeMaster()) {
          core.violation(
            'NOTIFICATION_UNEXPECTED',
            'the legacy driver left Bus Master off: it is set for it',
          );
        }
        common.write(commonRegisters.register.device_status, value);
        return;
      case 'queue_select':
      case 'config_msix_vector':
      case 'queue_msix_vector':
        common.write(commonRegisters.register[name], value);
    }
  }

  /** The one register that the driver of a member reaches by itself. */
  readonly #notifications: BarContent & { readonly length: number } = {
    length: legacyRegisters.register.queue_notify.width,
    read: () => 0,
    write: (offset, width, value) => {
      const { offset: at } = legacyRegisters.register.queue_notify;
      this.#bank.write(at + offset, width, value);
    },
  };

  #notify(index: number): void {
    const { core } = this.#parts;
    if (core.queue(index) !== undefined) core.notify(index);
    else core.violation('NOTIFICATION_UNEXPECTED', `queue ${index} was notified, and does not exist`);
  }
}
