import { intercept, type V86Cpu, type V86Emulator, whenReady } from './emulator.ts';

const blockSize = 2 ** 16;

interface Block {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * Lets a guest reboot that was started from a `bzimage`. v86 puts the kernel into memory once, and a guest that
 * runs overwrites it; with this, each reset finds the memory as it was at first. Call it before the guest runs;
 * it holds a copy of what is in memory then, which is about kernel and initramfs. Settles when that is copied.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is no v86, or one without the members this needs.
 */
export function reloadOnReboot(emulator: V86Emulator): Promise<void> {
  return new Promise((resolve, reject) => {
    const prepare = (cpu: V86Cpu): void => {
      const blocks = blocksInUse(cpu);
      intercept(cpu, 'reboot_internal', (original) => () => {
        const ram = viewOf(cpu);
        ram.fill(0);
        for (const { offset, bytes } of blocks) ram.set(bytes, offset);
        cpu.jit_clear_cache();
        original();
      });
      resolve();
    };
    whenReady(emulator, prepare, reject);
  });
}

function blocksInUse(cpu: V86Cpu): Block[] {
  const ram = viewOf(cpu);
  const blocks: Block[] = [];
  for (let offset = 0; offset < ram.length; offset += blockSize) {
    const words = new Uint32Array(
      ram.buffer,
      ram.byteOffset + offset,
      Math.min(blockSize, ram.length - offset) / 4,
    );
    if (words.some((word) => word !== 0)) {
      blocks.push({ offset, bytes: ram.slice(offset, offset + blockSize) });
    }
  }
  return blocks;
}

function viewOf({ wasm_memory, mem8 }: V86Cpu): Uint8Array {
  return new Uint8Array(wasm_memory.buffer, mem8.byteOffset, mem8.length);
}
