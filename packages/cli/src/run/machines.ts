import type { Progress } from 'virtio-node/guests';
import type { BusName, RunBus } from './buses.ts';
import type { ImageOptions, MachineImage } from './machine.ts';

/** How a guest reaches our devices: a name for programs, and one for people. */
export interface Reached {
  readonly name: string;
  readonly title: string;
}

/** A machine that `virtio run --machine` puts our devices into. */
export interface RunMachine {
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** MiB that it can have: below, our kernel and initramfs do not fit. */
  readonly memory: { readonly least: number; readonly most: number };
  /** The buses that its devices can be on; none where there is no choice. */
  readonly buses: readonly BusName[];
  /** How the guest reaches devices on a bus. */
  readonly reached: (bus: RunBus | undefined) => Reached;
  /** Whether our guest's kernel has a driver for randomness. */
  readonly hasEntropy: boolean;
  /**
   * Gets all that is to be booted.
   *
   * @throws {CommandError} when something is not to be had here.
   */
  readonly readImage: (plan: ImageOptions, progress: Progress) => Promise<MachineImage>;
}

const overVhostUser: Reached = { name: 'vhost-user', title: 'vhost-user, served by this process' };

/** All machines, the one that is used unless told first. Each is loaded when it is asked for. */
export const runMachines = [
  {
    name: 'v86',
    title: 'a PC emulated in this process, by v86',
    // Above it the emulator has no room for devices.
    memory: { least: 128, most: 2047 },
    buses: ['pci', 'pci-transitional', 'pci-legacy', 'mmio', 'mmio-legacy'],
    reached: (bus) => bus ?? overVhostUser,
    hasEntropy: true,
    readImage: async (plan, progress) => (await import('./v86-image.ts')).readV86Image(plan, progress),
  },
  {
    name: 'uml',
    title: 'user-mode Linux, a process of this machine',
    memory: { least: 64, most: 65_536 },
    buses: [],
    reached: () => overVhostUser,
    // Debian builds it without.
    hasEntropy: false,
    readImage: async (plan, progress) => (await import('./uml-image.ts')).readUmlImage(plan, progress),
  },
  {
    name: 'qemu',
    title: 'QEMU, which emulates the processor',
    memory: { least: 128, most: 65_536 },
    // Its front ends know of no driver without VERSION_1 on MMIO.
    buses: ['pci', 'pci-transitional', 'pci-legacy', 'mmio'],
    reached: (bus) =>
      bus === undefined
        ? overVhostUser
        : isFunction(bus)
          ? { name: 'vfio-user', title: `${bus.title}, by vfio-user, served by this process` }
          : { name: 'vhost-user', title: `${bus.title}, by vhost-user, served by this process` },
    hasEntropy: true,
    readImage: async (plan, progress) => (await import('./qemu-image.ts')).readQemuImage(plan, progress),
  },
] as const satisfies readonly RunMachine[];

/** True where the devices are whole functions of ours: QEMU has no front ends for drivers of before virtio 1.0. */
const isFunction = ({ name }: RunBus): boolean => name === 'pci-transitional' || name === 'pci-legacy';
