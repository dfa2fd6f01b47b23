import { type AddressHalf, ControlRegisters, halfOf } from '../../device/control-registers.ts';
import type { DeviceCore } from '../../device/core.ts';
import type { RegisterTarget } from '../../device/register-bank.ts';
import type { Register } from '../../spec/registers.ts';
import type { Interrupts } from './interrupts.ts';
import { type CommonRegister, noVector } from './registers.ts';

/** What the common configuration must be told of a queue that the core does not know. */
export interface QueueNumbers {
  notifyOff(queue: number): number;
  notifConfigData(queue: number): number;
}

type AddressRegister = `queue_${'desc' | 'driver' | 'device'}_${'lo' | 'hi'}`;

/** Which half of which of a queue's addresses a register is. */
const addressHalves: Readonly<
  Record<AddressRegister, readonly ['descriptor' | 'driver' | 'device', AddressHalf]>
> = {
  queue_desc_lo: ['descriptor', 'low'],
  queue_desc_hi: ['descriptor', 'high'],
  queue_driver_lo: ['driver', 'low'],
  queue_driver_hi: ['driver', 'high'],
  queue_device_lo: ['device', 'low'],
  queue_device_hi: ['device', 'high'],
};

const isAddress = (name: CommonRegister): name is AddressRegister => name in addressHalves;

/**
 * The device's side of the common configuration structure.
 *
 * @spec 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
 * @spec 4.1.3.2 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
 */
export class CommonConfig implements RegisterTarget<CommonRegister> {
  readonly #core: DeviceCore;
  readonly #interrupts: Interrupts;
  readonly #numbers: QueueNumbers;
  /** @internal */
  readonly control: ControlRegisters;
  /** @internal As the driver reads it. */
  generation = 0;
  #seenGeneration: number;

  constructor(core: DeviceCore, interrupts: Interrupts, numbers: QueueNumbers) {
    this.#core = core;
    this.control = new ControlRegisters(core);
    this.#interrupts = interrupts;
    this.#numbers = numbers;
    this.#seenGeneration = core.configGeneration;
  }

  read({ name }: Register<CommonRegister>): number {
    const control = this.control;
    const { queue, queueSelect } = control;
    if (isAddress(name)) {
      const [area, half] = addressHalves[name];
      return halfOf(queue?.[area] ?? 0, half);
    }
    switch (name) {
      case 'device_feature_select':
        return control.deviceFeatureSelect;
      case 'device_feature':
        return control.deviceFeatures;
      case 'driver_feature_select':
        return control.driverFeatureSelect;
      case 'driver_feature':
        return control.driverFeatures;
      case 'config_msix_vector':
        return this.#interrupts.configVector;
      case 'num_queues':
        return this.#core.adminQueueIndex;
      case 'device_status':
        return this.#core.status;
      case 'config_generation':
        this.followGeneration();
        return this.generation;
      case 'queue_select':
        return queueSelect;
      case 'queue_size':
        return control.queueSize;
      case 'queue_msix_vector':
        return this.#interrupts.queueVector(queueSelect);
      case 'queue_enable':
        return queue?.enabled === true ? 1 : 0;
      case 'queue_notify_off':
        return queue === undefined ? 0 : this.#numbers.notifyOff(queueSelect);
      case 'queue_notif_config_data': {
        const exists = queue !== undefined && this.#core.negotiated('NOTIF_CONFIG_DATA');
        return exists ? this.#numbers.notifConfigData(queueSelect) : 0;
      }
      // A queue is reset at once, so the reset is never seen to be under way.
      case 'queue_reset':
        return 0;
      case 'admin_queue_index':
        return this.#core.adminQueueIndex;
      case 'admin_queue_num':
        return this.#core.queues.length - this.#core.adminQueueIndex;
    }
  }

  write(register: Register<CommonRegister>, value: number): void {
    switch (register.name) {
      case 'device_feature_select':
        this.control.deviceFeatureSelect = value;
        return;
      case 'driver_feature_select':
        this.control.driverFeatureSelect = value;
        return;
      case 'driver_feature':
        this.control.acceptFeatures(value);
        return;
      case 'config_msix_vector':
        this.#interrupts.mapConfig(value);
        return;
      case 'device_status':
        this.#core.writeStatus(value);
        if (value === 0) this.reset();
        return;
      case 'queue_select':
        this.control.queueSelect = value;
        return;
      default:
        this.#writeQueue(register.name, value);
    }
  }

  /** The device was reset: the selections too, and no event is mapped to a vector. */
  reset(): void {
    this.control.reset();
    this.#interrupts.reset();
  }

  /**
   * Called with every look at the configuration. However often it changed meanwhile, the generation moves by
   * one: eight bits never come round between two looks.
   */
  followGeneration(): void {
    if (this.#core.configGeneration !== this.#seenGeneration) this.moveGeneration(this.generation);
  }

  /** @internal Moves on from a generation that the driver may have read. */
  moveGeneration(from: number): void {
    this.generation = (from + 1) & 0xff;
    this.#seenGeneration = this.#core.configGeneration;
  }

  #writeQueue(name: CommonRegister, value: number): void {
    const control = this.control;
    if (name === 'queue_enable') control.enableQueue(name, value);
    else if (name === 'queue_reset') {
      if (control.resetQueue(name, value)) this.#interrupts.mapQueue(control.queueSelect, noVector);
    } else if (name === 'queue_msix_vector') {
      // An interrupt may be mapped elsewhere while the queue runs.
      if (control.queueFor(name) !== undefined) this.#interrupts.mapQueue(control.queueSelect, value);
    } else if (name === 'queue_size') control.writeQueueSize(name, value);
    else if (isAddress(name)) {
      const [area, half] = addressHalves[name];
      control.writeQueueAddress(name, area, half, value);
    }
  }
}
