import { readField, writeField } from '../../driver/config-access.ts';
import type { Deviation, NotificationListener } from '../../driver/transport.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { deviceMistakes } from '../../peer-errors.ts';
import { busFreeFeatures, type ReservedFeatureName } from '../../spec/features.ts';
import type { RegisterBlock } from '../../spec/registers.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { MmioAccess } from './access.ts';
import { DriverInterrupts } from './driver-interrupts.ts';
import { RegisterAccess } from './register-access.ts';
import { configOffset, magicValue, type SharedRegister } from './registers.ts';

/** How often a queue's reset is looked for, and its stop. */
const resetTries = 1000;

/** The largest Queue Size that there is (2.7, 2.8). */
const largestQueue = 32768;

/** How a driver wants its device. */
export interface MmioDriverOptions {
  /** Known of the device; none unless told. */
  readonly deviations?: readonly Deviation[] | undefined;
}

/** What one version has of its own. */
interface DriverParts<N extends string> {
  readonly registers: RegisterBlock<N | SharedRegister>;
  /** The register that is not 0 while the selected queue is in use; 0 there stops it. */
  readonly inUse: N;
}

/** What a driver does at the registers that both versions have. */
export abstract class MmioDriver<N extends string> {
  readonly deviceId: number;
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly deviations: readonly Deviation[] | undefined;
  readonly carries: readonly ReservedFeatureName[] = [...busFreeFeatures, 'NOTIFICATION_DATA'];

  protected readonly access: MmioAccess;
  protected readonly registers: RegisterAccess<N | SharedRegister>;
  readonly #inUse: N;
  readonly #interrupts: DriverInterrupts;
  readonly #queues = new Set<number>();
  #last: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(access: MmioAccess, deviceId: number, parts: DriverParts<N>, options: MmioDriverOptions) {
    this.access = access;
    this.deviceId = deviceId;
    this.#inUse = parts.inUse;
    this.deviations = options.deviations;
    this.memory = access.memory;
    this.allocator = access.allocator;
    this.registers = new RegisterAccess(access, parts.registers.register);
    this.#interrupts = new DriverInterrupts(access, this.registers);
    this.#interrupts.start();
  }

  /** @throws {HostError} DEVICE_GONE when nothing answers behind the window any more. */
  async readStatus(): Promise<number> {
    const value = await this.registers.read('Status');
    if (value > 0xff && (await this.registers.read('MagicValue')) !== magicValue) {
      throw new HostError('DEVICE_GONE', 'the MMIO device does not answer');
    }
    return value & 0xff;
  }

  writeStatus(value: number): Promise<void> {
    return this.inTurn(async () => {
      await this.registers.write('Status', value);
      if (value === 0) this.forgetQueues();
    });
  }

  /** By the width of the field, in place: bytes come in the order in which they stand there. */
  readConfig(offset: number, length: number): Promise<Uint8Array> {
    return readField(length, (at, width) => this.access.read(configOffset + offset + at, width));
  }

  writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    return writeField(bytes, (at, width, value) =>
      this.access.write(configOffset + offset + at, width, value),
    );
  }

  /** @throws {PeerError} LAYOUT_INVALID for a size above 32768. */
  queueMaxSize(index: number): Promise<number> {
    return this.inTurn(async () => {
      await this.registers.write('QueueSel', index);
      const size = await this.registers.read('QueueSizeMax');
      if (size > largestQueue) throw invalid(`its queue ${index} has ${size} descriptors`);
      return size;
    });
  }

  /**
   * Sets a queue up and puts it into use, last of all.
   *
   * @throws {UsageError} BAD_STATE when it is set up by an earlier call.
   * @throws {PeerError} LAYOUT_INVALID when the device says that it is in use.
   */
  enableQueue(index: number, areas: QueueAreas): Promise<void> {
    return this.inTurn(async () => {
      if (this.#queues.has(index)) throw new UsageError('BAD_STATE', `queue ${index} is set up already`);
      await this.registers.write('QueueSel', index);
      if ((await this.registers.read(this.#inUse)) !== 0)
        throw invalid(`its queue ${index} is in use already`);
      await this.placeQueue(areas);
      this.#queues.add(index);
    });
  }

  /**
   * Stops a queue without a reset of it. The device forgets the buffers that it has of it.
   *
   * @throws {PeerError} RESET_INCOMPLETE when the queue stays in use.
   */
  stopQueue(index: number): Promise<void> {
    return this.inTurn(async () => {
      await this.registers.write('QueueSel', index);
      await this.registers.write(this.#inUse, 0);
      await this.untilClear(index, this.#inUse);
      this.#queues.delete(index);
    });
  }

  kick(index: number, data: number | undefined): void {
    const value = data === undefined ? index : ((data << 16) | index) >>> 0;
    this.registers.writeNow('QueueNotify', value);
  }

  listen(listener: NotificationListener | undefined): void {
    this.#interrupts.listener = listener;
  }

  /** Resets the device, and listens to its line no more. */
  async close(): Promise<void> {
    for (const index of [...this.#queues]) await this.stopQueue(index);
    await this.writeStatus(0);
    this.#interrupts.stop();
  }

  /** Tells the device where the selected queue is, and puts it into use. */
  protected abstract placeQueue(areas: QueueAreas): Promise<void>;

  /** The device was reset, and uses no queue. */
  protected forgetQueues(): void {
    this.#queues.clear();
  }

  /** A queue was reset. */
  protected forgetQueue(index: number): void {
    this.#queues.delete(index);
  }

  /** Reads until these registers of the selected queue are 0, one after the other in one go. */
  protected async untilClear(index: number, ...names: N[]): Promise<void> {
    for (let tries = 0; tries < resetTries; tries++) {
      let set = false;
      for (const name of names) set ||= (await this.registers.read(name)) !== 0;
      if (!set) return;
    }
    const what = names.join(' and ');
    throw new PeerError(
      'RESET_INCOMPLETE',
      `the MMIO device never lets go of queue ${index}: ${what} stay set`,
      deviceMistakes.RESET_INCOMPLETE,
    );
  }

  /** What selects a queue or a word goes on to use it, so such tasks take turns. */
  protected inTurn<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** The device broke a rule that keeps its driver from going on. */
export function invalid(what: string): PeerError {
  return new PeerError('LAYOUT_INVALID', `the MMIO device: ${what}`);
}
