import type { Device } from '../../device/device.ts';
import type { TraceEvent } from '../../device/trace.ts';
import { tracing } from '../../device/tracing.ts';
import type { VirtioError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { reservedFeatures } from '../../spec/features.ts';
import type { RegisterBlock } from '../../spec/registers.ts';
import { status } from '../../spec/status.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';
import { type SampleBehaviour, type sample, sampleDevice } from '../pci/pci.fixture.ts';
import { MmioDevice } from './device.ts';
import type { MmioDeviceOptions, MmioHost } from './options.ts';
import { configOffset, type MmioRegister, mmioRegisters, type SharedRegister } from './registers.ts';
import type { MmioWindow } from './window.ts';

/** A device behind a window, its host, and a guest that does what it is told, right or wrong. */
export abstract class WindowGuest<N extends string, W extends MmioWindow<N>> {
  readonly memory: GuestMemory = GuestMemory.ofSize(2 ** 20);
  readonly errors: VirtioError[] = [];
  readonly events: TraceEvent[] = [];
  /** Each level that the interrupt line took. */
  readonly line: boolean[] = [];
  abstract readonly window: W;
  readonly device: Device<typeof sample>;
  protected readonly host: MmioHost;
  readonly #registers: RegisterBlock<N>;

  constructor(registers: RegisterBlock<N>, behaviour: SampleBehaviour) {
    this.#registers = registers;
    this.device = sampleDevice(behaviour);
    this.host = {
      memory: this.memory,
      setInterruptLine: (level) => void this.line.push(level),
      trace: tracing((event) => void this.events.push(event)),
      onError: (error) => void this.errors.push(error),
    };
  }

  /** The codes of what the device named, oldest first. */
  get codes(): string[] {
    return this.errors.map(({ code }) => code);
  }

  get level(): boolean {
    return this.line.at(-1) ?? false;
  }

  get(name: N | SharedRegister): number {
    return this.window.read(this.#offset(name), 4);
  }

  set(name: N | SharedRegister, value: number): void {
    this.window.write(this.#offset(name), 4, value);
  }

  config(offset: number, width: number): number {
    return this.window.read(configOffset + offset, width);
  }

  setConfig(offset: number, width: number, value: number): void {
    this.window.write(configOffset + offset, width, value);
  }

  kick(index: number): void {
    this.set('QueueNotify', index);
  }

  /** Handles an interrupt, and answers what it was about. */
  acknowledge(): number {
    const bits = this.get('InterruptStatus');
    this.set('InterruptACK', bits);
    return bits;
  }

  /** Makes descriptor 0, of 64 device-writable bytes, available in a split queue; does not kick. */
  offer(index: number, count = 1): void {
    const base = 0x10000 * (index + 1);
    const write = (address: number, bytesOf: number[]): void =>
      this.memory.write(address, Uint8Array.from(bytesOf));
    write(base, [0, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0]);
    write(this.available(index) + 2, [count, 0]);
  }

  /** The used index of a split queue. */
  used(index: number): number {
    return new DataView(this.memory.read(this.usedRing(index) + 2, 2).buffer).getUint16(0, true);
  }

  protected abstract available(index: number): number;
  protected abstract usedRing(index: number): number;

  #offset(name: N | SharedRegister): number {
    // Both versions have the shared registers in their table.
    return this.#registers.register[name as N].offset;
  }
}

/** A guest of version 2. */
export class Guest extends WindowGuest<MmioRegister, MmioDevice> {
  readonly window: MmioDevice;

  constructor(options: Partial<MmioDeviceOptions> = {}, behaviour: SampleBehaviour = {}) {
    super(mmioRegisters, behaviour);
    this.window = new MmioDevice(this.device, { ...this.host, packedRing, inOrder, ...options });
  }

  /** Goes through initialisation with the features whose bits are given, VERSION_1 among them. */
  negotiate(...bits: number[]): this {
    this.set('Status', 0);
    this.set('Status', status.ACKNOWLEDGE);
    this.set('Status', status.ACKNOWLEDGE | status.DRIVER);
    for (let word = 0; word < 4; word++) {
      let value = 0;
      for (const bit of [reservedFeatures.VERSION_1, ...bits])
        if (bit >>> 5 === word) value |= 1 << (bit & 31);
      this.set('DriverFeaturesSel', word);
      this.set('DriverFeatures', value >>> 0);
    }
    this.set('Status', status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK);
    return this;
  }

  /** Places queue `index` at an address that is its own, and makes it ready. */
  enableQueue(index: number, size = 16): this {
    const base = 0x10000 * (index + 1);
    this.set('QueueSel', index);
    this.set('QueueSize', size);
    this.set('QueueDescLow', base);
    this.set('QueueDescHigh', 0);
    this.set('QueueDriverLow', base + 0x1000);
    this.set('QueueDriverHigh', 0);
    this.set('QueueDeviceLow', base + 0x2000);
    this.set('QueueDeviceHigh', 0);
    this.set('QueueReady', 1);
    return this;
  }

  go(): this {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
    this.set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return this;
  }

  protected override available(index: number): number {
    return 0x10000 * (index + 1) + 0x1000;
  }

  protected override usedRing(index: number): number {
    return 0x10000 * (index + 1) + 0x2000;
  }
}
