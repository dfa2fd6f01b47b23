import type { Device } from '../../device/device.ts';
import { legacyInterface } from '../../device/legacy.ts';
import { LegacyConfig } from '../../device/legacy-config.ts';
import { placeLegacyQueue } from '../../device/legacy-queue.ts';
import type { Endian } from '../../spec/guest-endian.ts';
import { isPowerOfTwo } from '../../spec/power-of-two.ts';
import { type LegacyMmioRegister, legacyMmioRegisters } from './legacy-registers.ts';
import type { MmioWindowOptions, MmioWindowState } from './options.ts';
import { mmioRegisters, mmioVersion } from './registers.ts';
import { MmioWindow } from './window.ts';

/** How a device of version 1 is to be, beside its host. */
export interface LegacyMmioDeviceOptions extends MmioWindowOptions {
  /** The guest's byte order, which its rings, messages and the device's configuration have; 'little' unless told. */
  readonly endian?: Endian | undefined;
}

/** The state of a device of version 1 as JSON. */
export interface LegacyMmioDeviceState extends MmioWindowState {
  readonly guestPageSize: number;
  /** QueueAlign of each queue. */
  readonly queueAligns: readonly number[];
}

/**
 * A device as a window of memory-mapped registers, version 1: what drivers of before virtio 1.0 know. Queues are given
 * by page numbers. No access throws.
 *
 * @throws {UsageError} BAD_STATE when the device is in use.
 */
export class LegacyMmioDevice extends MmioWindow<LegacyMmioRegister> {
  readonly #queueAligns: number[];
  #guestPageSize = 0;

  constructor(device: Device, options: LegacyMmioDeviceOptions) {
    super(device, options, {
      version: mmioVersion.LEGACY,
      registers: legacyMmioRegisters,
      legacy: legacyInterface(options.endian),
      config: (core) => (device.type.config.size === 0 ? undefined : new LegacyConfig(core)),
      hint: otherVersion,
    });
    this.#queueAligns = this.core.queues.map(() => 0);
  }

  /** As after power-up. A driver's own reset leaves the page size: drivers tell it before they reset the device. */
  override reset(): void {
    super.reset();
    this.#guestPageSize = 0;
  }

  /** All that is needed to go on from here in another process. */
  save(): LegacyMmioDeviceState {
    return {
      ...this.saveWindow(),
      guestPageSize: this.#guestPageSize,
      queueAligns: [...this.#queueAligns],
    };
  }

  /**
   * Takes a saved state. Call `resume` when the host is ready for interrupts and for the device to use memory.
   *
   * @throws {UsageError} BAD_STATE when the state is of another device: this one stays reset.
   */
  restore(state: LegacyMmioDeviceState): void {
    this.restoreWindow(state);
    this.#guestPageSize = state.guestPageSize >>> 0;
    for (const index of this.#queueAligns.keys()) this.#queueAligns[index] = state.queueAligns[index] ?? 0;
  }

  protected override readRegister(name: LegacyMmioRegister): number {
    switch (name) {
      case 'HostFeatures':
        return this.control.deviceFeatures;
      case 'QueuePFN':
        return this.#pageNumber();
      case 'QueueSizeMax':
        if (this.control.queue?.enabled === true) {
          this.core.violation(
            'REGISTER_ACCESS',
            `${name} was read while queue ${this.control.queueSelect} is in use`,
          );
        }
        return this.readShared(name);
      default:
        return this.readShared(name);
    }
  }

  protected override writeRegister(name: LegacyMmioRegister, value: number): void {
    const { control } = this;
    switch (name) {
      case 'HostFeaturesSel':
        control.deviceFeatureSelect = value;
        return;
      case 'GuestFeaturesSel':
        control.driverFeatureSelect = value;
        return;
      case 'GuestFeatures':
        control.acceptFeatures(value);
        return;
      case 'GuestPageSize':
        this.#writePageSize(value);
        return;
      case 'QueueAlign':
        if (control.idleQueueFor(name) !== undefined) this.#queueAligns[control.queueSelect] = value;
        return;
      case 'QueuePFN':
        this.#writePageNumber(value);
        return;
      default:
        this.writeShared(name, value);
    }
  }

  protected override resetRegisters(): void {
    super.resetRegisters();
    this.#queueAligns.fill(0);
  }

  #writePageSize(size: number): void {
    if (this.core.queues.some(({ enabled }) => enabled)) {
      this.core.violation('REGISTER_ACCESS', 'GuestPageSize was written while a queue is in use');
    } else if (!isPowerOfTwo(size)) {
      this.core.violation('REGISTER_ACCESS', `GuestPageSize cannot be ${size}, which is no power of two`);
    } else this.#guestPageSize = size;
  }

  #pageNumber(): number {
    const { queue } = this.control;
    return queue?.enabled === true ? Math.floor(queue.descriptor / this.#guestPageSize) : 0;
  }

  /** 0 takes the queue away; another number places it, when the driver has said what a page is, and how it is aligned. */
  #writePageNumber(page: number): void {
    const { control, core } = this;
    const index = control.queueSelect;
    const queueAlign = this.#queueAligns[index] ?? 0;
    const start = page * this.#guestPageSize;
    if (page !== 0 && this.#guestPageSize === 0) {
      core.violation('REGISTER_ACCESS', `QueuePFN of queue ${index} was written before GuestPageSize`);
    } else if (page !== 0 && !(queueAlign >= 4 && isPowerOfTwo(queueAlign))) {
      const message = `QueueAlign of queue ${index} is ${queueAlign}, and not a power of two of at least 4`;
      core.violation('QUEUE_MISALIGNED', message);
    } else if (start % queueAlign !== 0 && page !== 0) {
      const message = `queue ${index} begins at ${start}, which is no multiple of its QueueAlign ${queueAlign}`;
      core.violation('QUEUE_MISALIGNED', message);
    } else placeLegacyQueue(core, control, 'QueuePFN', start, queueAlign);
  }
}

function otherVersion(offset: number): string | undefined {
  const register = mmioRegisters.holding(offset);
  return (
    register &&
    `${register.name} is a register of version 2: the driver must look at Version, which reads 1 here, ` +
      'or the host must be told to show version 2'
  );
}
