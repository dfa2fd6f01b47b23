import { readField, writeField } from '../../driver/config-access.ts';
import type { Deviation, NotificationListener } from '../../driver/transport.ts';
import { HostError, PeerError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { busFreeFeatures, type ReservedFeatureName } from '../../spec/features.ts';
import type { RegisterBlock } from '../../spec/registers.ts';
import type { MmioAccess } from './access.ts';
import { DriverInterrupts } from './driver-interrupts.ts';
import { RegisterAccess } from './register-access.ts';
import { configOffset, magicValue, type SharedRegister } from './registers.ts';

/** The largest Queue Size that there is (2.7, 2.8). */
const largestQueue = 32768;

/** How a driver wants its device. */
export interface MmioDriverOptions {
  /** Known of the device; none unless told. */
  readonly deviations?: readonly Deviation[] | undefined;
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
  readonly #interrupts: DriverInterrupts;
  #last: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(
    access: MmioAccess,
    deviceId: number,
    block: RegisterBlock<N | SharedRegister>,
    options: MmioDriverOptions,
  ) {
    this.access = access;
    this.deviceId = deviceId;
    this.deviations = options.deviations;
    this.memory = access.memory;
    this.allocator = access.allocator;
    this.registers = new RegisterAccess(access, block.register);
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

  kick(index: number, data: number | undefined): void {
    const value = data === undefined ? index : ((data << 16) | index) >>> 0;
    this.registers.writeNow('QueueNotify', value);
  }

  listen(listener: NotificationListener | undefined): void {
    this.#interrupts.listener = listener;
  }

  /** Resets the device, and listens to its line no more. */
  async close(): Promise<void> {
    await this.stopQueues();
    await this.writeStatus(0);
    this.#interrupts.stop();
  }

  /** The device was reset: it uses no queue. */
  protected abstract forgetQueues(): void;
  /** Stops what the device still uses. */
  protected abstract stopQueues(): Promise<void>;

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
