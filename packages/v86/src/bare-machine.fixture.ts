import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';
import { type V86Cpu, v86Cpu } from './emulator.ts';

/** How v86 carries out a guest's access to memory that a device is mapped in. */
export interface MappedMemory {
  mmap_read8(address: number): number;
  mmap_read32(address: number): number;
  mmap_write8(address: number, value: number): void;
  mmap_write32(address: number, value: number): void;
}

/** A v86 without firmware or guest: the test makes the accesses that a guest would make. */
export class BareMachine {
  readonly emulator: V86;

  private constructor(emulator: V86) {
    this.emulator = emulator;
  }

  /** Answers before the emulator has loaded. */
  static load(): BareMachine {
    const wasm_path = fileURLToPath(new URL('v86.wasm', import.meta.resolve('v86')));
    return new BareMachine(
      new V86({ wasm_path, memory_size: 16 << 20, vga_memory_size: 1 << 20, autostart: false }),
    );
  }

  static async create(): Promise<BareMachine> {
    const machine = BareMachine.load();
    await machine.ready();
    return machine;
  }

  async ready(): Promise<void> {
    await new Promise<void>((resolve) => this.emulator.add_listener('emulator-ready', () => resolve()));
    // A firmware writes the BARs that the IDE controller does not have; until then v86 cannot restore its states.
    for (let bar = 0; bar < 4; bar++) this.configWrite(0x1e, 0x10 + 4 * bar, 0);
  }

  get cpu(): V86Cpu & MappedMemory {
    const cpu = v86Cpu(this.emulator);
    if (cpu === undefined) throw new Error('the emulator has not loaded');
    // Nothing but these tests makes a guest's accesses, so only they want these members.
    return cpu as V86Cpu & MappedMemory;
  }

  configRead(slot: number, register: number, width: 1 | 2 | 4 = 4): number {
    this.#select(slot, register);
    return this.in(0xcfc + (register & 3), width);
  }

  configWrite(slot: number, register: number, value: number, width: 1 | 2 | 4 = 4): void {
    this.#select(slot, register);
    this.out(0xcfc + (register & 3), value, width);
  }

  in(port: number, width: 1 | 2 | 4): number {
    const { io } = this.cpu;
    if (width === 1) return io.port_read8(port);
    return width === 2 ? io.port_read16(port) : io.port_read32(port) >>> 0;
  }

  out(port: number, value: number, width: 1 | 2 | 4): void {
    const { io } = this.cpu;
    if (width === 1) io.port_write8(port, value);
    else if (width === 2) io.port_write16(port, value);
    else io.port_write32(port, value | 0);
  }

  /** The way in which a 32-bit write arrives in v86: as four bytes of its address register. */
  #select(slot: number, register: number): void {
    this.out(0xcf8, 0x8000_0000 | (slot << 11) | (register & 0xfc), 4);
  }
}
