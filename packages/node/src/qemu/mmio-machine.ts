import type { Deviation } from 'virtio/driver';
import { UsageError } from 'virtio/errors';
import type { Allocator, GuestMemory } from 'virtio/memory';
import type { AccessWidth, MmioAccess } from 'virtio/transports/mmio';
import { QemuMachine, type QemuOptions } from './machine.ts';
import { qemuDeviations } from './pci-machine.ts';

/** The same over MMIO, where there is more. */
export const qemuMmioDeviations: readonly Deviation[] = [...qemuDeviations, 'TWO_FEATURE_WORDS'];

/** Where a board has its windows of virtio registers, and the interrupt line of the first. */
const windows = {
  virt: { start: 0x0a00_0000, length: 0x200, count: 32, firstLine: 16 },
  microvm: { start: 0xfeb0_0000, length: 0x200, count: 8, firstLine: 5 },
} as const;

export interface QemuMmioOptions extends Omit<QemuOptions, 'board' | 'machine'> {
  /** `virt` is QEMU's for Arm, `microvm` its small PC. */
  readonly board: keyof typeof windows;
  /** Show version 1, the legacy interface, as QEMU does unless told; false unless told. */
  readonly legacy?: boolean;
}

/** A machine of QEMU's with windows of virtio registers in memory, for drivers of the devices behind them. */
export class QemuMmioMachine {
  readonly machine: QemuMachine;
  readonly #board: keyof typeof windows;

  private constructor(machine: QemuMachine, board: keyof typeof windows) {
    this.machine = machine;
    this.#board = board;
  }

  /**
   * Starts QEMU. Devices in `args` must name their window, such as `bus=virtio-mmio-bus.0`.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start.
   */
  static async start(options: QemuMmioOptions): Promise<QemuMmioMachine> {
    const { legacy = false, board } = options;
    const machine = await QemuMachine.start({
      ...options,
      // One interrupt controller, whose lines follow the windows.
      ...(board === 'microvm' ? { machine: 'acpi=off,ioapic2=off' } : {}),
      args: ['-global', `virtio-mmio.force-legacy=${legacy}`, ...(options.args ?? [])],
    });
    return new QemuMmioMachine(machine, board);
  }

  /** The window of a number. */
  window(number: number): MmioAccess {
    const { start, length, count, firstLine } = windows[this.#board];
    if (!(number >= 0 && number < count)) {
      throw new UsageError('BAD_ARGUMENT', `there is no window ${number}: ${this.#board} has ${count}`);
    }
    return new QemuWindow(this.machine, start + number * length, firstLine + number);
  }

  close(): Promise<void> {
    return this.machine.close();
  }
}

/** One window, and its interrupt line. */
class QemuWindow implements MmioAccess {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly #machine: QemuMachine;
  readonly #start: number;
  readonly #line: number;

  constructor(machine: QemuMachine, start: number, line: number) {
    this.#machine = machine;
    this.#start = start;
    this.#line = line;
    this.memory = machine.memory;
    this.allocator = machine.allocator;
  }

  read(offset: number, width: AccessWidth): Promise<number> {
    return this.#machine.qtest.read(this.#start + offset, width);
  }

  write(offset: number, width: AccessWidth, value: number): Promise<void> {
    return this.#machine.qtest.write(this.#start + offset, width, value);
  }

  writeNow(offset: number, width: AccessWidth, value: number): void {
    this.write(offset, width, value).catch(() => {}); // whoever listens hears that QEMU is gone
  }

  listenLine(handler: (() => void) | undefined): void {
    this.#machine.listenLine(this.#line, handler);
  }

  listenGone(handler: (error: Error) => void): void {
    this.#machine.listenGone(handler);
  }
}
