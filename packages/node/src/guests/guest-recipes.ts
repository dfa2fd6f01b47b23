import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HostError } from 'virtio/errors';
import { withInterpreter } from './elf-interpreter.ts';
import { diskModule, mmioModule, networkModule, shareModule, socketModule } from './init-scripts.ts';
import { bzImagePayload, unpackedBzImage } from './unpacked-kernel.ts';
import { unpackXz } from './xz.ts';

/** Where the files of a guest are put together. */
export interface BuildPlace {
  /** The unpacked packages. */
  readonly tree: string;
  /** Kernel release, as `uname -r` says it. */
  readonly release: string;
  /** Where the files go. */
  readonly into: string;
  /** Where they are when all are made. */
  readonly final: string;
}

/** What guests for one kind of machine are made of. */
export interface GuestRecipe {
  /** Debian's name of the processor. */
  readonly architecture: string;
  /** The suite that has the kernel. */
  readonly suite: string;
  /** The kernel's package, or a metapackage that stands for it. */
  readonly kernel: string;
  /** Packages beside the kernel and busybox. */
  readonly packages: readonly string[];
  /** The folder of the packages that has the kernel's modules, in one of its own for the release. */
  readonly modules: string;
  /** Modules loaded at boot, in the order in which they are asked for. */
  readonly bootModules: readonly string[];
  /** Modules that are in the initramfs for those who ask. */
  readonly otherModules: readonly string[];
  /** Makes the files beside the initramfs. */
  readonly build: (place: BuildPlace) => Promise<void>;
}

/** The files of a guest for each kind of machine: where each lies in the guest's folder, by its name. */
export const guestFileNames = {
  v86: { bzimage: 'bzimage', initrd: 'initrd', bios: 'bios', vgaBios: 'vgaBios' },
  qemu: { bzimage: 'bzimage', initrd: 'initrd' },
  'qemu-s390x': { kernel: 'kernel', initrd: 'initrd' },
  uml: {
    linux: 'linux',
    loader: 'lib/ld-linux-x86-64.so.2',
    libc: 'lib/libc.so.6',
    initrd: 'initrd',
  },
} as const;

/** A kind of machine for which guests are built: v86's, QEMU's `pc` and `q35`, its s390x machine, and user-mode Linux. */
export type GuestMachine = keyof typeof guestFileNames;

const pcModules = ['virtio_pci', 'virtio_console', 'virtio_rng', 'crc32c_generic', 'ext4'];

export const guestRecipes: Readonly<Record<GuestMachine, GuestRecipe>> = {
  v86: {
    architecture: 'i386',
    // The last suite with an i386 kernel.
    suite: 'bookworm',
    kernel: 'linux-image-686',
    packages: ['seabios'],
    modules: 'lib/modules',
    // What of shares has no device is part of the state that is saved after boot.
    bootModules: [...pcModules, 'fuse'],
    otherModules: [diskModule, mmioModule, networkModule, shareModule, socketModule],
    build: buildV86,
  },
  qemu: {
    architecture: 'amd64',
    suite: 'bookworm',
    kernel: 'linux-image-cloud-amd64',
    packages: [],
    modules: 'lib/modules',
    bootModules: pcModules,
    otherModules: [diskModule, mmioModule, networkModule, shareModule, socketModule],
    build: ({ tree, release, into }) =>
      copyFile(join(tree, 'boot', `vmlinuz-${release}`), join(into, guestFileNames.qemu.bzimage)),
  },
  'qemu-s390x': {
    architecture: 's390x',
    // From 6.10 on a kernel does not run at the addresses where it lies.
    suite: 'bookworm',
    kernel: 'linux-image-s390x',
    packages: [],
    modules: 'lib/modules',
    bootModules: ['virtio_console', 'virtio_rng'],
    otherModules: [diskModule, networkModule, shareModule, socketModule],
    build: ({ tree, release, into }) =>
      copyFile(join(tree, 'boot', `vmlinuz-${release}`), join(into, guestFileNames['qemu-s390x'].kernel)),
  },
  uml: {
    architecture: 'amd64',
    // Versions before 7 end at the first process on processors with much vector state.
    suite: 'forky',
    kernel: 'user-mode-linux',
    packages: ['libc6'],
    modules: 'usr/lib/uml/modules',
    bootModules: ['virtio_console'],
    otherModules: [diskModule, networkModule, shareModule, socketModule],
    build: buildUml,
  },
};

/** Finds the one kernel release whose modules are below the folder. */
export async function releaseIn(folder: string): Promise<string> {
  const [release, ...others] = await readdir(folder);
  if (release !== undefined && others.length === 0) return release;
  throw new HostError('BAD_IMAGE', `the kernel's package has not one folder of modules in ${folder}`);
}

async function buildV86({ tree, release, into }: BuildPlace): Promise<void> {
  const names = guestFileNames.v86;
  const packed = await readFile(join(tree, 'boot', `vmlinuz-${release}`));
  await writeFile(
    join(into, names.bzimage),
    unpackedBzImage(packed, await unpackXz(bzImagePayload(packed), into)),
  );
  await copyFile(join(tree, 'usr/share/seabios/bios.bin'), join(into, names.bios));
  await copyFile(join(tree, 'usr/share/seabios/vgabios-stdvga.bin'), join(into, names.vgaBios));
}

/** The kernel is a program here, for a younger C library than this machine may have: it is given its own. */
async function buildUml({ tree, into, final }: BuildPlace): Promise<void> {
  const names = guestFileNames.uml;
  await mkdir(join(into, dirname(names.libc)));
  const libraries = 'usr/lib/x86_64-linux-gnu';
  await copyFile(join(tree, libraries, 'libc.so.6'), join(into, names.libc));
  await copyFile(join(tree, libraries, 'ld-linux-x86-64.so.2'), join(into, names.loader));
  const program = await readFile(join(tree, 'usr/bin/linux.uml'));
  await writeFile(join(into, names.linux), withInterpreter(program, join(final, names.loader)), {
    mode: 0o755,
  });
}
