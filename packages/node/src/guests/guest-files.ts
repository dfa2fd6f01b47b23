import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { type AptWorld, type DebianPackage, unpackPackages } from './apt-world.ts';
import { cacheFolder, fileHash, hashOf, isMissing, publishFolder } from './cache.ts';
import { findKernel, withDebian } from './debian.ts';
import { bootModules, controlScript, initScript, inittab, profile } from './init-scripts.ts';
import { buildInitramfs } from './initramfs.ts';
import type { Progress } from './progress.ts';
import { bzImagePayload, unpackedBzImage } from './unpacked-kernel.ts';
import { unpackXz } from './xz.ts';

/** Raise this when what is built from the same packages changes, so that no cache of an earlier version is used. */
const recipe = 1;

const kernelPackages = { i386: 'linux-image-686' } as const;

/** A processor for which guests are built, in Debian's words. */
export type GuestArchitecture = keyof typeof kernelPackages;

export interface GuestOptions {
  /** A suite of Debian that has the kernel; `bookworm` unless told, the last one with an i386 kernel. */
  readonly suite?: string;
  readonly arch?: GuestArchitecture;
  /** Kernel modules to put into the initramfs beside those every guest loads. */
  readonly modules?: readonly string[];
  /** Cache folder; {@link cacheFolder} unless told. */
  readonly cache?: string;
  /** Address of a Debian archive; `$VIRTIO_DEBIAN_MIRROR` unless told, else the system's own sources. */
  readonly mirror?: string;
  readonly progress?: Progress;
}

/** The files of a guest in the cache, each checked against its checksum. */
export interface GuestFiles {
  /** Path of the kernel, already unpacked so that it starts sooner. */
  readonly bzimage: string;
  /** Path of the initramfs. */
  readonly initrd: string;
  /** Path of SeaBIOS. */
  readonly bios: string;
  /** Path of SeaBIOS's VGA BIOS. */
  readonly vgaBios: string;
  /** Kernel release, as `uname -r` says it. */
  readonly kernelVersion: string;
  /** SHA-256 of each file in hexadecimal. */
  readonly checksums: Readonly<Record<GuestFileName, string>>;
  /** The packages it is made of. */
  readonly packages: readonly Pick<DebianPackage, 'name' | 'version' | 'sha256'>[];
  /** Equal for equal guests: 32 hexadecimal digits over the content of the four files. */
  readonly id: string;
}

const fileNames = ['bzimage', 'initrd', 'bios', 'vgaBios'] as const;

/** What a guest consists of. */
export type GuestFileName = (typeof fileNames)[number];

type GuestRecord = Pick<GuestFiles, 'kernelVersion' | 'checksums' | 'packages'>;

/**
 * The files of a Debian guest. The first call fetches and builds them, with no root and without touching the
 * system; later ones find them in the cache. Files that are missing or damaged are made again.
 *
 * @throws HostError `MISSING_TOOL`, `NOT_FOUND` or `DOWNLOAD_FAILED`, whose message says how to hand over one's own
 *   kernel and initramfs; `CHECKSUM_MISMATCH` if a package is not what Debian signed.
 */
export async function guestFiles(options: GuestOptions = {}): Promise<GuestFiles> {
  const { suite = 'bookworm', arch: architecture = 'i386', modules = [], progress = () => {} } = options;
  const cache = options.cache ?? cacheFolder();
  const mirror = options.mirror ?? process.env.VIRTIO_DEBIAN_MIRROR;
  const scripts = [initScript, controlScript, inittab, profile];
  const key = hashOf(JSON.stringify([recipe, suite, architecture, modules, bootModules, scripts])).slice(
    0,
    16,
  );
  const folder = join(cache, 'guests', `${suite}-${architecture}-${key}`);

  const ready = await readGuest(folder);
  if (ready) return ready;
  return withDebian({ cache, suite, architecture, mirror, progress }, async (world) => {
    const meanwhile = await readGuest(folder);
    if (meanwhile) return meanwhile;
    await publishFolder(folder, (into) => buildGuest(world, architecture, modules, into, progress));
    const built = await readGuest(folder);
    if (!built) throw new HostError('IO_ERROR', `cannot read back ${folder}`);
    return built;
  });
}

/** The guest in this folder if it is there, complete and undamaged. */
async function readGuest(folder: string): Promise<GuestFiles | undefined> {
  const record = await readRecord(folder);
  if (!record) return undefined;
  const path = (name: GuestFileName): string => join(folder, name);
  const hashes = await Promise.all(fileNames.map((name) => fileHash(path(name))));
  if (fileNames.some((name, index) => hashes[index] !== record.checksums[name])) return undefined;
  return {
    bzimage: path('bzimage'),
    initrd: path('initrd'),
    bios: path('bios'),
    vgaBios: path('vgaBios'),
    id: hashOf(hashes.join(' ')).slice(0, 32),
    ...record,
  };
}

async function readRecord(folder: string): Promise<GuestRecord | undefined> {
  try {
    const { record, hash } = JSON.parse(await readFile(join(folder, 'guest.json'), 'utf8'));
    // The hash holds exactly for what writeRecord wrote, so the shape needs no second check.
    return hash === hashOf(JSON.stringify(record)) ? (record as GuestRecord) : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function buildGuest(
  world: AptWorld,
  architecture: GuestArchitecture,
  modules: readonly string[],
  into: string,
  progress: Progress,
): Promise<void> {
  const kernel = await findKernel(world, kernelPackages[architecture]);
  const packages = [kernel, ...(await world.find(['busybox-static', 'seabios']))];
  const files = await world.fetch(packages);
  const tree = join(into, 'tree');
  await mkdir(tree);
  progress({ step: 'unpack', detail: packages.map(({ name }) => name).join(', ') });
  await unpackPackages(files, tree);

  progress({ step: 'build', detail: 'kernel and initramfs' });
  const kernelVersion = kernel.name.replace('linux-image-', '');
  const packed = await readFile(join(tree, 'boot', `vmlinuz-${kernelVersion}`));
  await writeFile(
    join(into, 'bzimage'),
    unpackedBzImage(packed, await unpackXz(bzImagePayload(packed), into)),
  );
  const initramfs = await buildInitramfs({
    release: kernelVersion,
    modulesFolder: join(tree, 'lib', 'modules', kernelVersion),
    busybox: await readFile(join(tree, 'bin', 'busybox')),
    modules,
  });
  await writeFile(join(into, 'initrd'), initramfs);
  await copyFile(join(tree, 'usr/share/seabios/bios.bin'), join(into, 'bios'));
  await copyFile(join(tree, 'usr/share/seabios/vgabios-stdvga.bin'), join(into, 'vgaBios'));
  await rm(tree, { recursive: true });

  const hash = async (name: GuestFileName): Promise<string> => (await fileHash(join(into, name))) ?? '';
  const record: GuestRecord = {
    kernelVersion,
    checksums: {
      bzimage: await hash('bzimage'),
      initrd: await hash('initrd'),
      bios: await hash('bios'),
      vgaBios: await hash('vgaBios'),
    },
    packages: packages.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
  };
  const hashed = { record, hash: hashOf(JSON.stringify(record)) };
  await writeFile(join(into, 'guest.json'), JSON.stringify(hashed, undefined, 2));
}
