import type { DeviceCore } from '../../device/core.ts';
import type { QueueSetup } from '../../device/queue-setup.ts';
import type { RegisterTarget } from '../../device/register-bank.ts';
import { featureWords } from '../../spec/features.ts';
import type { Register } from '../../spec/registers.ts';
import type { Interrupts } from './interrupts.ts';
import { type CommonRegister, noVector } from './registers.ts';

/** What the common configuration must be told of a queue that the core does not know. */
export interface QueueNumbers {
  notifyOff(queue: number): number;
  notifConfigData(queue: number): number;
}

/** Half of a 64-bit address; above 2^53 it is not exact, and no memory either. */
interface Half {
  of(address: number): number;
  replace(address: number, half: number): number;
}

const low: Half = {
  of: (address) => address % 2 ** 32,
  replace: (address, half) => address - (address % 2 ** 32) + half,
};
const high: Half = {
  of: (address) => Math.floor(address / 2 ** 32),
  replace: (address, half) => half * 2 ** 32 + (address % 2 ** 32),
};

type AddressRegister = `queue_${'desc' | 'driver' | 'device'}_${'lo' | 'hi'}`;

/** Which half of which of a queue's addresses a register is. */
const addressHalves: Readonly<Record<AddressRegister, readonly ['descriptor' | 'driver' | 'device', Half]>> =
  {
    queue_desc_lo: ['descriptor', low],
    queue_desc_hi: ['descriptor', high],
    queue_driver_lo: ['driver', low],
    queue_driver_hi: ['driver', high],
    queue_device_lo: ['device', low],
    queue_device_hi: ['device', high],
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
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #queueSelect = 0;
  #generation = 0;
  #seenGeneration: number;

  constructor(core: DeviceCore, interrupts: Interrupts, numbers: QueueNumbers) {
    this.#core = core;
    this.#interrupts = interrupts;
    this.#numbers = numbers;
    this.#seenGeneration = core.configGeneration;
  }

  read({ name }: Register<CommonRegister>): number {
    const queue = this.#core.queue(this.#queueSelect);
    if (isAddress(name)) {
      const [area, half] = addressHalves[name];
      return half.of(queue?.[area] ?? 0);
    }
    switch (name) {
      case 'device_feature_select':
        return this.#deviceFeatureSelect;
      case 'device_feature':
        return this.#core.offered.word(this.#deviceFeatureSelect);
      case 'driver_feature_select':
        return this.#driverFeatureSelect;
      case 'driver_feature':
        return this.#core.driverFeatures.word(this.#driverFeatureSelect);
      case 'config_msix_vector':
        return this.#interrupts.configVector;
      case 'num_queues':
        return this.#core.adminQueueIndex;
      case 'device_status':
        return this.#core.status;
      case 'config_generation':
        this.followGeneration();
        return this.#generation;
      case 'queue_select':
        return this.#queueSelect;
      case 'queue_size':
        return queue === undefined ? 0 : this.#shownSize(queue);
      case 'queue_msix_vector':
        return this.#interrupts.queueVector(this.#queueSelect);
      case 'queue_enable':
        return queue?.enabled === true ? 1 : 0;
      case 'queue_notify_off':
        return queue === undefined ? 0 : this.#numbers.notifyOff(this.#queueSelect);
      case 'queue_notif_config_data': {
        const exists = queue !== undefined && this.#core.negotiated('NOTIF_CONFIG_DATA');
        return exists ? this.#numbers.notifConfigData(this.#queueSelect) : 0;
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
        this.#deviceFeatureSelect = value;
        return;
      case 'driver_feature_select':
        this.#driverFeatureSelect = value;
        return;
      case 'driver_feature':
        this.#acceptFeatures(value);
        return;
      case 'config_msix_vector':
        this.#interrupts.mapConfig(value);
        return;
      case 'device_status':
        this.#core.writeStatus(value);
        if (value === 0) this.reset();
        return;
      case 'queue_select':
        this.#queueSelect = value;
        return;
      default:
        this.#writeQueue(register.name, value);
    }
  }

  /** The device was reset: the selections too, and no event is mapped to a vector. */
  reset(): void {
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
    this.#queueSelect = 0;
    this.#interrupts.reset();
  }

  /**
   * Called with every look at the configuration. However often it changed meanwhile, the generation moves by
   * one: eight bits never come round between two looks.
   */
  followGeneration(): void {
    const generation = this.#core.configGeneration;
    if (generation === this.#seenGeneration) return;
    this.#seenGeneration = generation;
    this.#generation = (this.#generation + 1) & 0xff;
  }

  save(): {
    deviceFeatureSelect: number;
    driverFeatureSelect: number;
    queueSelect: number;
    generation: number;
  } {
    return {
      deviceFeatureSelect: this.#deviceFeatureSelect,
      driverFeatureSelect: this.#driverFeatureSelect,
      queueSelect: this.#queueSelect,
      generation: this.#generation,
    };
  }

  /** Takes saved selections back. The driver may be in mid-read, so the generation moves on. */
  restore(state: ReturnType<CommonConfig['save']>): void {
    this.#deviceFeatureSelect = state.deviceFeatureSelect >>> 0;
    this.#driverFeatureSelect = state.driverFeatureSelect >>> 0;
    this.#queueSelect = state.queueSelect & 0xffff;
    this.#generation = (state.generation + 1) & 0xff;
    this.#seenGeneration = this.#core.configGeneration;
  }

  #writeQueue(name: CommonRegister, value: number): void {
    const index = this.#queueSelect;
    const queue = this.#core.queue(index);
    if (queue === undefined || queue.maxSize === 0) {
      this.#core.violation('REGISTER_ACCESS', `${name} was written for queue ${index}, which does not exist`);
      return;
    }
    if (name === 'queue_enable') this.#enable(index, queue, value);
    else if (name === 'queue_reset') this.#resetQueue(index, value);
    // An interrupt may be mapped elsewhere while the queue runs.
    else if (name === 'queue_msix_vector') this.#interrupts.mapQueue(index, value);
    else if (queue.enabled) {
      this.#core.violation('REGISTER_ACCESS', `${name} was written while queue ${index} is enabled`);
    } else if (name === 'queue_size') this.#resize(index, queue, value);
    else if (isAddress(name)) {
      const [area, half] = addressHalves[name];
      queue[area] = half.replace(queue[area], value);
    }
  }

  #acceptFeatures(value: number): void {
    if (this.#driverFeatureSelect < featureWords) {
      this.#core.writeDriverFeatures(this.#driverFeatureSelect, value);
    } else if (value !== 0) {
      this.#core.violation(
        'FEATURES_REFUSED',
        `the driver accepted features of word ${this.#driverFeatureSelect}, where none are offered`,
      );
    }
  }

  #enable(index: number, queue: QueueSetup, value: number): void {
    if (value !== 1) {
      this.#core.violation('REGISTER_ACCESS', `${value} was written to queue_enable of queue ${index}`);
      return;
    }
    if (queue.enabled) return;
    queue.size = this.#shownSize(queue);
    this.#core.enableQueue(index);
  }

  #resetQueue(index: number, value: number): void {
    if (value !== 1) {
      this.#core.violation('REGISTER_ACCESS', `${value} was written to queue_reset of queue ${index}`);
      return;
    }
    if (this.#core.negotiated('RING_RESET')) this.#interrupts.mapQueue(index, noVector);
    this.#core.resetQueue(index);
  }

  #resize(index: number, queue: QueueSetup, size: number): void {
    const powerOfTwo = (size & (size - 1)) === 0;
    const allowed = powerOfTwo || this.#core.negotiated('RING_PACKED');
    if (size > 0 && size <= queue.maxSize && allowed) queue.size = size;
    else this.#core.violation('QUEUE_SIZE_INVALID', `size ${size} was written for queue ${index}`);
  }

  /** A split ring's size is a power of two, whatever the device's maximum. */
  #shownSize(queue: QueueSetup): number {
    if (queue.size === 0 || this.#core.negotiated('RING_PACKED')) return queue.size;
    return 1 << (31 - Math.clz32(queue.size));
  }
}
