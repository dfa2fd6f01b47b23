import type { V86 } from 'v86';

/** What a v86 machine was booted from: the very buffers that it was given, which it completes in place. */
export interface BootImages {
  readonly bzimage: ArrayBuffer;
  readonly initrd: ArrayBuffer;
  readonly cmdline: string;
}

/** The part of v86's processor that is used here; its names are kept in the published build. */
interface Cpu {
  readonly mem8: Uint8Array;
  reboot_internal(): void;
}

const protectedModeBase = 0x100000;

/**
 * Lets a guest that was booted by `bzimage` reboot. v86 puts the kernel into memory once, when the machine is made
 * (copy/v86 issue 636), so it has to be put there again when the processor is reset. Call it at `emulator-ready`.
 */
export function reloadKernelOnReboot(emulator: V86, images: BootImages): void {
  // v86's own types leave out everything inside the emulator.
  const { cpu } = (emulator as unknown as { readonly v86: { readonly cpu: Cpu } }).v86;
  const reboot = cpu.reboot_internal;
  cpu.reboot_internal = function (this: Cpu): void {
    reboot.call(this);
    placeKernel(this.mem8, images);
  };
}

/** Where v86 puts things is in the header that it completed: cmd_line_ptr and ramdisk_image. */
function placeKernel(memory: Uint8Array, { bzimage, initrd, cmdline }: BootImages): void {
  const header = new DataView(bzimage);
  const setupSize = ((header.getUint8(0x1f1) || 4) + 1) * 512;
  const commandLine = header.getUint32(0x228, true);
  memory.set(new Uint8Array(bzimage, 0, setupSize), commandLine & ~0xffff);
  memory.set(new Uint8Array(bzimage, setupSize), protectedModeBase);
  memory.set(new Uint8Array(initrd), header.getUint32(0x218, true));
  memory.set(new TextEncoder().encode(`${cmdline}\0`), commandLine);
}
