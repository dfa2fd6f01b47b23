import { GuestMemory, type Region } from 'virtio/memory';
import { intercept, type V86Cpu } from './emulator.ts';

const videoMemory = { start: 0xa0000, end: 0xc0000 } as const;

/**
 * The guest's RAM: all of v86's memory but the window of the video card. It lies in a WebAssembly memory,
 * which moves when it grows; the views are taken again before anybody can use an old one.
 */
export class GuestRam {
  readonly memory: GuestMemory = new GuestMemory();
  readonly #cpu: V86Cpu;
  readonly #byteOffset: number;
  readonly #regions: readonly Region[];
  #buffer: ArrayBufferLike;

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
    this.#buffer = cpu.wasm_memory.buffer;
    this.#byteOffset = cpu.mem8.byteOffset;
    this.memory.onDeviceWrite = (region, offset, length) => this.#wrote(region.start + offset, length);
    const size = cpu.mem8.length;
    const ranges = [
      [0, Math.min(size, videoMemory.start)],
      [videoMemory.end, size],
    ] as const;
    this.#regions = ranges
      .filter(([start, end]) => start < end)
      .map(([start, end]) => this.memory.addRegion(start, this.#backing(start, end - start)));
    // Whatever runs between two turns of the event loop, such as the completion of a file's read, finds good views.
    for (const name of ['main_loop', 'codegen_finalize_finished', 'set_state'] as const) {
      this.#refreshAfter(name);
    }
  }

  /** Takes the views again if the memory has moved. Called at each entry from v86 into a device. */
  refresh(): void {
    if (this.#cpu.wasm_memory.buffer === this.#buffer) return;
    this.#buffer = this.#cpu.wasm_memory.buffer;
    for (const region of this.#regions) {
      this.memory.remap(region, this.#backing(region.start, region.length));
    }
  }

  /** Code that was compiled from what a device has overwritten must go. */
  #wrote(address: number, length: number): void {
    this.#cpu.jit_dirty_cache(address, address + length);
    this.refresh();
  }

  #backing(
    start: number,
    byteLength: number,
  ): { buffer: ArrayBufferLike; byteOffset: number; byteLength: number } {
    return { buffer: this.#buffer, byteOffset: this.#byteOffset + start, byteLength };
  }

  #refreshAfter<K extends 'main_loop' | 'codegen_finalize_finished' | 'set_state'>(name: K): void {
    intercept(this.#cpu, name, (original) => {
      const call: (...args: never[]) => unknown = original;
      const wrapper = (...args: never[]): unknown => {
        try {
          return call(...args);
        } finally {
          this.refresh();
        }
      };
      // It takes and returns exactly what the original does.
      return wrapper as V86Cpu[K];
    });
  }
}
