import type { PeerErrorCode } from '../errors.ts';
import { featureWords } from '../spec/features.ts';
import type { DeviceCore } from './core.ts';
import type { QueueSetup } from './queue-setup.ts';

/** Half of a 64-bit address; above 2^53 it is not exact, and no memory either. */
export type AddressHalf = 'low' | 'high';

/**
 * The registers by which a driver negotiates and sets queues up, where it selects a word of features and a queue
 * first. `register` is what the transport calls the one that was written, for what is said of a mistake.
 */
export class ControlRegisters {
  deviceFeatureSelect = 0;
  driverFeatureSelect = 0;
  queueSelect = 0;
  readonly #core: DeviceCore;

  constructor(core: DeviceCore) {
    this.#core = core;
  }

  /** The selected word of the features that the device offers; 0 behind the last. */
  get deviceFeatures(): number {
    return this.#core.offered.word(this.deviceFeatureSelect);
  }

  /** The selected word of the features that the driver has written. */
  get driverFeatures(): number {
    return this.#core.driverFeatures.word(this.driverFeatureSelect);
  }

  acceptFeatures(value: number): void {
    if (this.driverFeatureSelect < featureWords) {
      this.#core.writeDriverFeatures(this.driverFeatureSelect, value);
    } else if (value !== 0) {
      const message = `features of word ${this.driverFeatureSelect} were accepted, where none are offered`;
      this.#core.violation('FEATURES_REFUSED', message);
    }
  }

  /** The selected queue; `undefined` when it is none, or not the driver's to use. */
  get queue(): QueueSetup | undefined {
    return this.#core.queue(this.queueSelect);
  }

  /** The selected queue for a write to it, which is named when there is none. */
  queueFor(register: string): QueueSetup | undefined {
    const { queue } = this;
    if (queue !== undefined && queue.maxSize > 0) return queue;
    return this.#refuse(register, ', which does not exist');
  }

  /** As `queueFor`, where the write is allowed only until the queue is enabled. */
  idleQueueFor(register: string): QueueSetup | undefined {
    const queue = this.queueFor(register);
    if (queue?.enabled !== true) return queue;
    return this.#refuse(register, ', which is enabled');
  }

  /** The selected queue's size as it would be enabled: a power of two for a split ring, whatever the maximum. */
  get queueSize(): number {
    const size = this.queue?.size ?? 0;
    if (size === 0 || this.#core.negotiated('RING_PACKED')) return size;
    return 1 << (31 - Math.clz32(size));
  }

  writeQueueSize(register: string, size: number): void {
    const queue = this.idleQueueFor(register);
    if (queue === undefined) return;
    const powerOfTwo = (size & (size - 1)) === 0;
    const allowed = powerOfTwo || this.#core.negotiated('RING_PACKED');
    if (size > 0 && size <= queue.maxSize && allowed) queue.size = size;
    else this.#refuse(register, ` with ${size}`, 'QUEUE_SIZE_INVALID');
  }

  writeQueueAddress(
    register: string,
    area: 'descriptor' | 'driver' | 'device',
    half: AddressHalf,
    value: number,
  ): void {
    const queue = this.idleQueueFor(register);
    if (queue !== undefined) queue[area] = withHalf(queue[area], half, value);
  }

  /** Enables the selected queue; the one value to write is 1. */
  enableQueue(register: string, value: number): void {
    const queue = this.queueFor(register);
    if (queue === undefined || !this.#isOne(register, value) || queue.enabled) return;
    queue.size = this.queueSize;
    this.#core.enableQueue(this.queueSelect);
  }

  /** Resets the selected queue; the one value to write is 1. False when it was not. */
  resetQueue(register: string, value: number): boolean {
    if (this.queueFor(register) === undefined || !this.#isOne(register, value)) return false;
    this.#core.resetQueue(this.queueSelect);
    return this.#core.negotiated('RING_RESET');
  }

  /** The device was reset. */
  reset(): void {
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
    this.queueSelect = 0;
  }

  #isOne(register: string, value: number): boolean {
    if (value === 1) return true;
    this.#refuse(register, ` with ${value}`);
    return false;
  }

  #refuse(register: string, why: string, code: PeerErrorCode = 'REGISTER_ACCESS'): undefined {
    this.#core.violation(code, `${register} was written for queue ${this.queueSelect}${why}`);
  }
}

/** Half of an address as a register shows it. */
export function halfOf(address: number, half: AddressHalf): number {
  return half === 'low' ? address % 2 ** 32 : Math.floor(address / 2 ** 32);
}

function withHalf(address: number, half: AddressHalf, value: number): number {
  const low = address % 2 ** 32;
  return half === 'low' ? address - low + value : value * 2 ** 32 + low;
}
