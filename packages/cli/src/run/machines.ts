import type { Progress } from 'virtio-node/guests';
import type { ImageOptions, MachineImage } from './machine.ts';

/** A machine that `virtio run --machine` puts our devices into. */
export interface RunMachine {
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** MiB that it can have: below, our kernel and initramfs do not fit. */
  readonly memory: { readonly least: number; readonly most: number };
  /** Its devices are on a bus of choice, and it takes kernels of the user's. */
  readonly isOpen: boolean;
  /** Whether our guest's kernel has a driver for randomness. */
  readonly hasEntropy: boolean;
  /**
   * Gets all that is to be booted.
   *
   * @throws {CommandError} when something is not to be had here.
   */
  readonly readImage: (plan: ImageOptions, progress: Progress) => Promise<MachineImage>;
}

/** All machines, the one that is used unless told first. Each is loaded when it is asked for. */
export const runMachines = [
  {
    name: 'v86',
    title: 'a PC emulated in this process, by v86',
    // Above it the emulator has no room for devices.
    memory: { least: 128, most: 2047 },
    isOpen: true,
    hasEntropy: true,
    readImage: async (plan, progress) => (await import('./v86-image.ts')).readV86Image(plan, progress),
  },
  {
    name: 'uml',
    title: 'user-mode Linux, a process of this machine',
    memory: { least: 64, most: 65_536 },
    isOpen: false,
    // Debian builds it without.
    hasEntropy: false,
    readImage: async (plan, progress) => (await import('./native-image.ts')).readUmlImage(plan, progress),
  },
  {
    name: 'qemu',
    title: 'QEMU, which emulates the processor',
    memory: { least: 128, most: 65_536 },
    isOpen: false,
    hasEntropy: true,
    readImage: async (plan, progress) => (await import('./native-image.ts')).readQemuImage(plan, progress),
  },
] as const satisfies readonly RunMachine[];
