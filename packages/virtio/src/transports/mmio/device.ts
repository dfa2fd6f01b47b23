import { configBank } from '../../device/config-bank.ts';
import { type AddressHalf, halfOf } from '../../device/control-registers.ts';
import type { Device } from '../../device/device.ts';
import { disableQueue } from '../../device/disable-queue.ts';
import { UsageError } from '../../errors.ts';
import type { MmioDeviceOptions, MmioDeviceState } from './options.ts';
import { legacyOnlyRegisters, type MmioRegister, mmioRegisters, mmioVersion } from './registers.ts';
import type { MmioSharedMemory } from './shared-memory.ts';
import { MmioWindow } from './window.ts';

/** What SHMLen and SHMBase read where there is no region. */
const noRegion = 0xffff_ffff;

/**
 * A device as a window of memory-mapped registers, version 2, and one interrupt. It knows no host: a host
 * routes the guest's accesses to `read` and `write`. No access throws.
 *
 * @throws {UsageError} BAD_ARGUMENT for shared memory that cannot be; BAD_STATE when the device is in use.
 * @spec 4.2.2.1 device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
 */
export class MmioDevice extends MmioWindow<MmioRegister> {
  readonly #sharedMemory: ReadonlyMap<number, MmioSharedMemory>;
  #sharedMemorySelect = 0;

  constructor(device: Device, options: MmioDeviceOptions) {
    const sharedMemory = regionsById(options.sharedMemory ?? []);
    super(device, options, {
      version: mmioVersion.MODERN,
      registers: mmioRegisters,
      config: configBank,
      hint: otherVersion,
      packedRing: options.packedRing,
      inOrder: options.inOrder,
    });
    this.#sharedMemory = sharedMemory;
  }

  /** All that is needed to go on from here in another process. */
  save(): MmioDeviceState {
    return { ...this.saveWindow(), sharedMemorySelect: this.#sharedMemorySelect };
  }

  /**
   * Takes a saved state. Call `resume` when the host is ready for interrupts and for the device to use memory.
   *
   * @throws {UsageError} BAD_STATE when the state is of another device: this one stays reset.
   */
  restore(state: MmioDeviceState): void {
    this.restoreWindow(state);
    this.#sharedMemorySelect = state.sharedMemorySelect >>> 0;
  }

  protected override readRegister(name: MmioRegister): number {
    switch (name) {
      case 'ConfigGeneration':
        return this.core.configGeneration;
      case 'DeviceFeatures':
        return this.control.deviceFeatures;
      case 'QueueReady':
        return this.control.queue?.enabled === true ? 1 : 0;
      // A queue is reset at once, so the reset is never seen to be under way.
      case 'QueueReset':
        return 0;
      case 'SHMLenLow':
        return this.#region('length', 'low');
      case 'SHMLenHigh':
        return this.#region('length', 'high');
      case 'SHMBaseLow':
        return this.#region('address', 'low');
      case 'SHMBaseHigh':
        return this.#region('address', 'high');
      default:
        return this.readShared(name);
    }
  }

  protected override writeRegister(name: MmioRegister, value: number): void {
    const { control } = this;
    switch (name) {
      case 'DeviceFeaturesSel':
        control.deviceFeatureSelect = value;
        return;
      case 'DriverFeaturesSel':
        control.driverFeatureSelect = value;
        return;
      case 'DriverFeatures':
        control.acceptFeatures(value);
        return;
      case 'QueueReady':
        if (value === 0) this.#stopQueue();
        else control.enableQueue(name, value);
        return;
      case 'QueueReset':
        control.resetQueue(name, value);
        return;
      case 'QueueDescLow':
        control.writeQueueAddress(name, 'descriptor', 'low', value);
        return;
      case 'QueueDescHigh':
        control.writeQueueAddress(name, 'descriptor', 'high', value);
        return;
      case 'QueueDriverLow':
        control.writeQueueAddress(name, 'driver', 'low', value);
        return;
      case 'QueueDriverHigh':
        control.writeQueueAddress(name, 'driver', 'high', value);
        return;
      case 'QueueDeviceLow':
        control.writeQueueAddress(name, 'device', 'low', value);
        return;
      case 'QueueDeviceHigh':
        control.writeQueueAddress(name, 'device', 'high', value);
        return;
      case 'SHMSel':
        this.#sharedMemorySelect = value;
        return;
      default:
        this.writeShared(name, value);
    }
  }

  protected override resetRegisters(): void {
    super.resetRegisters();
    this.#sharedMemorySelect = 0;
  }

  /** What was in flight is lost: a driver that wants it back resets the queue or the device. */
  #stopQueue(): void {
    if (this.control.queueFor('QueueReady') !== undefined) disableQueue(this.core, this.control.queueSelect);
  }

  #region(field: 'address' | 'length', half: AddressHalf): number {
    const region = this.#sharedMemory.get(this.#sharedMemorySelect);
    return region === undefined ? noRegion : halfOf(region[field], half);
  }
}

function regionsById(regions: readonly MmioSharedMemory[]): ReadonlyMap<number, MmioSharedMemory> {
  const byId = new Map<number, MmioSharedMemory>();
  for (const region of regions) {
    const { id, address, length } = region;
    const sound = [id, address, length, address + length].every(
      (value) => Number.isSafeInteger(value) && value >= 0,
    );
    if (!sound || id > 0xffff_ffff) {
      throw new UsageError('BAD_ARGUMENT', `shared memory ${id} cannot be ${length} bytes at ${address}`);
    }
    if (byId.has(id)) throw new UsageError('BAD_ARGUMENT', `two shared memory regions have id ${id}`);
    byId.set(id, region);
  }
  return byId;
}

function otherVersion(offset: number): string | undefined {
  const register = legacyOnlyRegisters.find((one) => one.offset === (offset & ~3));
  return (
    register &&
    `${register.name} is a register of version 1, the legacy one: the driver must look at Version, which reads 2 here`
  );
}
