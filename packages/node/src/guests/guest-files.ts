import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { type AptWorld, type DebianPackage, unpackPackages } from './apt-world.ts';
import { cacheFolder, exists, fileHash, hashOf, isMissing, publishFolder } from './cache.ts';
import { findKernel, withDebian } from './debian.ts';
import {
  type GuestMachine,
  type GuestRecipe,
  guestFileNames,
  guestRecipes,
  releaseIn,
} from './guest-recipes.ts';
import { controlScript, dhcpScript, initScript, inittab, profile } from './init-scripts.ts';
import { buildInitramfs } from './initramfs.ts';
import type { Progress } from './progress.ts';

/** Raise this when what is built from the same packages changes, so that no cache of an earlier version is used. */
const version = 2;

export interface GuestOptions<M extends GuestMachine = 'v86'> {
  /** What is to run it; v86 unless told. */
  readonly machine?: M;
  /** A suite of Debian that has the kernel; the one that is known to do unless told. */
  readonly suite?: string;
  /** Kernel modules to put into the initramfs beside those every guest has. */
  readonly modules?: readonly string[];
  /** Debian packages whose programs are in the initramfs, with the libraries that they need. */
  readonly programs?: readonly string[];
  /** Cache folder; {@link cacheFolder} unless told. */
  readonly cache?: string;
  /** Address of a Debian archive; `$VIRTIO_DEBIAN_MIRROR` unless told, else the system's own sources. */
  readonly mirror?: string;
  readonly progress?: Progress;
}

/** What a guest consists of. */
export type GuestFileName<M extends GuestMachine = 'v86'> = keyof (typeof guestFileNames)[M] & string;

interface GuestRecord {
  /** Kernel release, as `uname -r` says it. */
  readonly kernelVersion: string;
  /** SHA-256 of each file in hexadecimal. */
  readonly checksums: Readonly<Record<string, string>>;
  /** The packages it is made of. */
  readonly packages: readonly Pick<DebianPackage, 'name' | 'version' | 'sha256'>[];
}

/**
 * The files of a guest in the cache, each checked against its checksum: paths by their names. `bzimage` is a kernel,
 * for v86 one that is unpacked already so that it starts sooner; `initrd` the initramfs; `bios` and `vgaBios` are
 * SeaBIOS; `linux` is a kernel that is a program, `loader` and `libc` what it is loaded with.
 */
export type GuestFiles<M extends GuestMachine = 'v86'> = Readonly<Record<GuestFileName<M>, string>> &
  Omit<GuestRecord, 'checksums'> & {
    /** SHA-256 of each file in hexadecimal. */
    readonly checksums: Readonly<Record<GuestFileName<M>, string>>;
    /** Equal for equal guests: 32 hexadecimal digits over the content of all files. */
    readonly id: string;
  };

/**
 * The files of a Debian guest. The first call fetches and builds them, with no root and without touching the
 * system; later ones find them in the cache. Files that are missing or damaged are made again.
 *
 * @throws HostError `MISSING_TOOL`, `NOT_FOUND` or `DOWNLOAD_FAILED`, whose message says how to hand over one's own
 *   kernel and initramfs; `CHECKSUM_MISMATCH` if a package is not what Debian signed.
 */
export async function guestFiles<M extends GuestMachine = 'v86'>(
  options: GuestOptions<M> = {},
): Promise<GuestFiles<M>> {
  const { modules = [], programs = [], progress = () => {} } = options;
  // The parameter's default is what is meant when nothing is said.
  const machine = options.machine ?? ('v86' as M);
  const recipe = guestRecipes[machine];
  const { suite = recipe.suite } = options;
  const cache = options.cache ?? cacheFolder();
  const mirror = options.mirror ?? process.env.VIRTIO_DEBIAN_MIRROR;
  const scripts = [initScript, controlScript, dhcpScript, inittab, profile];
  const key = hashOf(JSON.stringify([version, suite, recipe, modules, programs, scripts])).slice(0, 16);
  const folder = join(cache, 'guests', `${machine}-${suite}-${key}`);

  const ready = await readGuest(machine, folder);
  if (ready) return ready;
  const { architecture } = recipe;
  return withDebian({ cache, suite, architecture, mirror, progress }, async (world) => {
    const meanwhile = await readGuest(machine, folder);
    if (meanwhile) return meanwhile;
    await publishFolder(folder, (into) =>
      buildGuest(world, { machine, recipe, modules, programs, into, final: folder }, progress),
    );
    const built = await readGuest(machine, folder);
    if (!built) throw new HostError('IO_ERROR', `cannot read back ${folder}`);
    return built;
  });
}

/** The guest in this folder if it is there, complete and undamaged. */
async function readGuest<M extends GuestMachine>(
  machine: M,
  folder: string,
): Promise<GuestFiles<M> | undefined> {
  const record = await readRecord(folder);
  if (!record) return undefined;
  const files = pathsOf(machine, folder);
  const hashes = await Promise.all(files.map(([, path]) => fileHash(path)));
  if (files.some(([name], index) => hashes[index] !== record.checksums[name])) return undefined;
  const guest = { ...Object.fromEntries(files), id: hashOf(hashes.join(' ')).slice(0, 32), ...record };
  // The names are those of this very machine, and each was just compared with its checksum.
  return guest as unknown as GuestFiles<M>;
}

/** Names and paths of a guest's files. */
function pathsOf(machine: GuestMachine, folder: string): [string, string][] {
  return Object.entries(guestFileNames[machine]).map(([name, path]) => [name, join(folder, path)]);
}

async function readRecord(folder: string): Promise<GuestRecord | undefined> {
  try {
    const { record, hash } = JSON.parse(await readFile(join(folder, 'guest.json'), 'utf8'));
    // The hash holds exactly for what buildGuest wrote, so the shape needs no second check.
    return hash === hashOf(JSON.stringify(record)) ? (record as GuestRecord) : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

interface Build {
  readonly machine: GuestMachine;
  readonly recipe: GuestRecipe;
  /** Modules wished for beside the recipe's. */
  readonly modules: readonly string[];
  /** Packages whose programs are wished for. */
  readonly programs: readonly string[];
  readonly into: string;
  readonly final: string;
}

async function buildGuest(world: AptWorld, build: Build, progress: Progress): Promise<void> {
  const { machine, recipe, into, final } = build;
  const kernel = await findKernel(world, recipe.kernel);
  const packages = [kernel, ...(await world.find(['busybox-static', ...recipe.packages]))];
  const files = await world.fetch(packages);
  const tree = join(into, 'tree');
  await mkdir(tree);
  progress({ step: 'unpack', detail: packages.map(({ name }) => name).join(', ') });
  await unpackPackages(files, tree);

  const programs = await unpackPrograms(world, build, progress);
  progress({ step: 'build', detail: 'kernel and initramfs' });
  const modulesParent = join(tree, recipe.modules);
  const release = await releaseIn(modulesParent);
  await recipe.build({ tree, release, into, final });
  const initramfs = await buildInitramfs({
    release,
    modulesFolder: join(modulesParent, release),
    busybox: await readFile(await busyboxIn(tree)),
    bootModules: recipe.bootModules,
    modules: [...recipe.otherModules, ...build.modules],
    programs,
  });
  await writeFile(join(into, guestFileNames[machine].initrd), initramfs);
  await rm(tree, { recursive: true });
  if (programs !== undefined) await rm(programs, { recursive: true });

  const checksums: [string, string][] = [];
  for (const [name, path] of pathsOf(machine, into)) checksums.push([name, (await fileHash(path)) ?? '']);
  const record: GuestRecord = {
    kernelVersion: release,
    checksums: Object.fromEntries(checksums),
    packages: packages.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
  };
  const hashed = { record, hash: hashOf(JSON.stringify(record)) };
  await writeFile(join(into, 'guest.json'), JSON.stringify(hashed, undefined, 2));
}

/** Unpacks the packages that programs were wished from, and all that they need; `undefined` when there are none. */
async function unpackPrograms(
  world: AptWorld,
  { programs, into }: Build,
  progress: Progress,
): Promise<string | undefined> {
  if (programs.length === 0) return undefined;
  const closure = await world.closure(programs);
  progress({ step: 'unpack', detail: `${programs.join(', ')}: ${closure.length} packages` });
  const folder = join(into, 'programs');
  await mkdir(folder);
  await unpackPackages(await world.fetch(closure), folder);
  return folder;
}

/** Suites differ in whether the programs in /bin are packaged there. */
async function busyboxIn(tree: string): Promise<string> {
  const older = join(tree, 'bin', 'busybox');
  return (await exists(older)) ? older : join(tree, 'usr/bin/busybox');
}
