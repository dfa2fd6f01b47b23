import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { unpackPackages } from './apt-world.ts';
import { cacheFolder, fileHash, hashOf, isMissing, publishFolder, withLock } from './cache.ts';
import { findKernel, withDebian } from './debian.ts';
import { guestRecipes } from './guest-recipes.ts';
import type { Progress } from './progress.ts';
import { type RunOptions, runOrFail } from './run.ts';

/** What the kernel is to have; all else that may be left out of one is. */
const configuration = [
  ...['64BIT=y', 'EXPERT=y', 'CC_OPTIMIZE_FOR_SIZE=y', 'LOCALVERSION="-virtio"'],
  // One program for all C libraries.
  'STATIC_LINK=y',
  // What busybox and our init need.
  ...['PRINTK=y', 'BUG=y', 'BINFMT_ELF=y', 'BINFMT_SCRIPT=y', 'BLK_DEV_INITRD=y', 'MULTIUSER=y'],
  ...[
    'FUTEX=y',
    'POSIX_TIMERS=y',
    'PROC_FS=y',
    'PROC_SYSCTL=y',
    'SYSFS=y',
    'SHMEM=y',
    'TMPFS=y',
    'DEVTMPFS=y',
  ],
  ...['TTY=y', 'UNIX98_PTYS=y', 'STDERR_CONSOLE=y', 'SSL=y', 'NULL_CHAN=y'],
  ...['BLOCK=y', 'BLK_DEV=y', 'PARTITION_ADVANCED=y', 'EXT2_FS=y'],
  ...['VIRTIO_UML=y', 'VIRTIO_BLK=y', 'VIRTIO_CONSOLE=y', 'HW_RANDOM=y', 'HW_RANDOM_VIRTIO=y'],
].map((option) => `CONFIG_${option}`);

/**
 * What compiles it: always these, whatever compiler a machine has. Their programs run with any C library from 2.36 on;
 * what they compile is linked with one of theirs.
 */
const toolchain = {
  suite: 'bookworm',
  packages: [
    ...['gcc-12', 'cpp-12', 'libgcc-12-dev', 'libc6-dev', 'linux-libc-dev'],
    ...['binutils-x86-64-linux-gnu', 'libbinutils', 'libctf0', 'libctf-nobfd0', 'libjansson4'],
    ...['libgmp10', 'libisl23', 'libmpc3', 'libmpfr6', 'libzstd1', 'zlib1g'],
    ...['make', 'flex', 'bison', 'm4', 'bc', 'libreadline8', 'libtinfo6', 'xz-utils', 'liblzma5'],
  ],
} as const;

/** The rest of them has the names that a build asks for. */
const prefixed = [
  'gcc-12',
  'ar',
  'as',
  'ld',
  'nm',
  'objcopy',
  'objdump',
  'ranlib',
  'readelf',
  'size',
  'strip',
];

/** Four fifths of the source: other processors, and what is for hardware that user-mode Linux does not have. */
const leftOut = [
  '*/arch/[!ux]*/*.*',
  '*/drivers/[!bctv]*/*.[ch]',
  ...['*/Documentation/*.*', '*/samples/*.[ch]', '*/sound/*.[ch]', '*/tools/[pt]*'],
];

/** Raise this when what is built from the same packages changes, so that no cache of an earlier version is used. */
const version = 1;

export interface UmlKernelOptions {
  /** Cache folder; {@link cacheFolder} unless told. */
  readonly cache?: string;
  /** Address of a Debian archive; `$VIRTIO_DEBIAN_MIRROR` unless told, else the system's own sources. */
  readonly mirror?: string;
  readonly progress?: Progress;
}

/**
 * The path of a small user-mode Linux for x86-64, built from Debian's source of it, with drivers of disks, consoles and
 * entropy; Debian's own has none of entropy. The first call fetches the source (164 MB) and a compiler (47 MB) and builds
 * for a minute or two, with no root and without touching the system; later ones find the program in the cache.
 *
 * @throws HostError `MISSING_TOOL`, `NOT_FOUND` or `DOWNLOAD_FAILED` where Debian's packages cannot be had,
 *   `CHECKSUM_MISMATCH` if one is not what Debian signed, `IO_ERROR` with the compiler's words if it cannot be built.
 */
export async function builtUmlKernel(options: UmlKernelOptions = {}): Promise<string> {
  const { cache = cacheFolder(), progress = () => {} } = options;
  const debian = {
    ...{ cache, progress, architecture: 'amd64', mirror: options.mirror ?? process.env.VIRTIO_DEBIAN_MIRROR },
    purpose: 'the source of user-mode Linux, and what compiles it, are fetched by it',
  };
  const { suite } = guestRecipes.uml;
  const source = await withDebian({ ...debian, suite }, (world) => findKernel(world, 'linux-source'));
  const key = hashOf(JSON.stringify([version, source.sha256, configuration, toolchain, leftOut])).slice(
    0,
    16,
  );
  const folder = join(cache, 'kernels', `uml-${source.version.replace(/[^\w.~+-]/g, '_')}-${key}`);

  const ready = await keptKernel(folder);
  if (ready !== undefined) return ready;
  return withLock(`${folder}.lock`, async () => {
    const meanwhile = await keptKernel(folder);
    if (meanwhile !== undefined) return meanwhile;
    const [archive = ''] = await withDebian({ ...debian, suite }, (world) => world.fetch([source]));
    const tools = await withDebian({ ...debian, suite: toolchain.suite }, async (world) =>
      world.fetch(await world.find(toolchain.packages)),
    );
    await publishFolder(folder, async (into) => {
      const tree = join(into, 'tree');
      await mkdir(tree);
      progress({ step: 'unpack', detail: `${source.name}, and what compiles it` });
      const environment = await unpackToolchain(tools, join(tree, 'tools'));
      await unpackSource(archive, join(tree, 'linux'), environment);
      progress({ step: 'build', detail: `user-mode Linux ${source.version}` });
      await compile(join(tree, 'linux'), environment).catch((cause: Error) => {
        throw new HostError(
          'IO_ERROR',
          `${source.name} ${source.version} cannot be built: ${cause.message}`,
          { cause },
        );
      });
      await rename(join(tree, 'linux', 'linux'), join(into, programName));
      await rm(tree, { recursive: true });
      await writeFile(join(into, checksumName), (await fileHash(join(into, programName))) ?? '');
    });
    // It is needed no more, and is the largest of all that is kept.
    await rm(archive);
    const built = await keptKernel(folder);
    if (built === undefined) throw new HostError('IO_ERROR', `cannot read back ${folder}`);
    return built;
  });
}

const programName = 'linux';
const checksumName = 'linux.sha256';

/** The kernel in this folder, if it is there and undamaged. */
async function keptKernel(folder: string): Promise<string | undefined> {
  const file = join(folder, programName);
  try {
    const expected = await readFile(join(folder, checksumName), 'utf8');
    return (await fileHash(file)) === expected ? file : undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

type Environment = NonNullable<RunOptions['environment']>;

/**
 * Unpacks what compiles, and answers an environment in which its programs are found before the system's. Their libraries
 * are for them alone: the system's programs have the system's.
 */
async function unpackToolchain(files: readonly string[], folder: string): Promise<Environment> {
  await mkdir(folder);
  await unpackPackages(files, folder);
  const programs = join(folder, 'usr/bin');
  const libraries = ['lib', 'usr/lib'].map((path) => join(folder, path, 'x86_64-linux-gnu')).join(':');
  const bin = join(folder, 'wrapped');
  await mkdir(bin);
  const wrap = async (name: string, program: string, args = ''): Promise<void> => {
    const script = `#!/bin/sh\nLD_LIBRARY_PATH='${libraries}' exec '${join(programs, program)}' ${args} "$@"\n`;
    await writeFile(join(bin, name), script, { mode: 0o755 });
  };
  // It would hand them on to all programs that it starts, and needs none.
  await symlink(join(programs, 'make'), join(bin, 'make'));
  for (const name of ['bc', 'bison', 'flex', 'xz']) await wrap(name, name);
  for (const name of prefixed) await wrap(name, `x86_64-linux-gnu-${name}`);
  await wrap('gcc', 'x86_64-linux-gnu-gcc-12', `'--sysroot=${folder}'`);
  return {
    PATH: `${bin}:${process.env.PATH ?? ''}`,
    M4: join(programs, 'm4'),
    BISON_PKGDATADIR: join(folder, 'usr/share/bison'),
  };
}

/** Unpacks the archive that the package of a kernel's source holds, but for what is left out. */
async function unpackSource(file: string, folder: string, environment: Environment): Promise<void> {
  await mkdir(folder);
  const script = `dpkg-deb --fsys-tarfile "$1" |
    tar --extract --to-stdout --wildcards './usr/src/linux-source-*.tar.xz' |
    xz --decompress --stdout --threads=0 |
    tar --extract --directory="$2" --strip-components=1 --exclude-from="$3"`;
  const exclusions = `${folder}.left-out`;
  await writeFile(exclusions, `${leftOut.join('\n')}\n`);
  await runOrFail('sh', ['-c', script, 'sh', file, folder, exclusions], { environment });
}

/** Builds the program `linux` in the folder of its source. */
async function compile(folder: string, environment: Environment): Promise<void> {
  const wanted = `${folder}.config`;
  await writeFile(wanted, `${configuration.join('\n')}\n`);
  const options = {
    // Who built it, where and when is no part of it.
    environment: {
      ...environment,
      ...{ KBUILD_BUILD_USER: 'virtio', KBUILD_BUILD_HOST: 'virtio', KBUILD_BUILD_TIMESTAMP: '1970-01-01' },
    },
  };
  const command = ['-n', '5', 'make', '-C', folder, 'ARCH=um', 'HOSTLDFLAGS=-static'];
  const make = (...args: string[]): Promise<Buffer> => runOrFail('nice', [...command, ...args], options);
  await make(`KCONFIG_ALLCONFIG=${wanted}`, 'allnoconfig');
  const taken = (await readFile(join(folder, '.config'), 'utf8')).split('\n');
  const missing = configuration.filter((option) => !taken.includes(option));
  if (missing.length > 0) throw new HostError('BAD_IMAGE', `it does not take ${missing.join(', ')}`);
  await make(`-j${availableParallelism()}`, 'linux');
}
