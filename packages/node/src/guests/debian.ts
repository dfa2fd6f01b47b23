import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { backports, sourcesForSuite } from './apt-sources.ts';
import { AptWorld, type DebianPackage, hasApt, unpackPackages } from './apt-world.ts';
import { exists, withLock } from './cache.ts';
import type { Progress } from './progress.ts';
import type { SourceEntry } from './sources.ts';

/** Said wherever packages cannot be had, so that nobody is left without a way on. */
const ownKernelAdvice =
  'To boot a kernel and initramfs of your own instead: virtio run --kernel FILE --initrd FILE';

/** Which Debian, and where it is kept. */
export interface DebianOptions {
  /** The user's cache folder. */
  readonly cache: string;
  /** A suite, such as `bookworm` or `trixie-backports`. */
  readonly suite: string;
  /** Debian's name of the processor, such as `i386`. */
  readonly architecture: string;
  /** Base address of a Debian archive, for a machine whose own sources name none. */
  readonly mirror?: string | undefined;
  /** What the packages are for, said where there is no apt; a guest's kernel unless told. */
  readonly purpose?: string;
  /** Where the system's configuration is; `/etc` unless told. */
  readonly etc?: string;
  readonly progress?: Progress;
}

/**
 * Runs `body` with Debian's packages of any suite and processor at hand, and keeps other processes out meanwhile.
 *
 * @throws HostError `MISSING_TOOL` without apt, `NOT_FOUND` if no source of Debian packages is known; both say how
 *   to go on without. What fails in `body` with `DOWNLOAD_FAILED` is given the same advice.
 */
export async function withDebian<T>(
  options: DebianOptions,
  body: (world: AptWorld) => Promise<T>,
): Promise<T> {
  const { cache, suite, architecture, purpose } = options;
  await requireApt(purpose ?? `the guest's kernel is fetched by it. ${ownKernelAdvice}`);
  const folder = join(cache, 'debian', `${suite}-${architecture}`);
  return withLock(`${folder}.lock`, async () => {
    const sources = await debianSources(options);
    const progress = options.progress ?? (() => {});
    const world = new AptWorld({
      folder,
      archives: join(cache, 'archives'),
      architecture,
      sources,
      progress,
    });
    return purpose === undefined ? withAdvice(() => body(world)) : body(world);
  });
}

/**
 * The same with this machine's own suite and processor, where packages already installed are not fetched. The suite's
 * backports are at hand beside it; `body` is told their name where they may be wanted.
 *
 * @param purpose what the packages are for, said where there is no apt
 * @throws HostError `MISSING_TOOL` without apt.
 */
export async function withMachinePackages<T>(
  options: { readonly cache: string; readonly progress?: Progress },
  purpose: string,
  body: (world: AptWorld, backports: string | undefined) => Promise<T>,
): Promise<T> {
  await requireApt(purpose);
  const folder = join(options.cache, 'debian', 'machine');
  const newer = await backports('/etc');
  return withLock(`${folder}.lock`, () =>
    body(
      new AptWorld({
        folder,
        archives: join(options.cache, 'archives'),
        added: newer?.added ?? [],
        progress: options.progress ?? (() => {}),
      }),
      newer?.suite,
    ),
  );
}

/**
 * The kernel package behind a metapackage such as `linux-image-686`, or `linux-source` for one that is yet to be built; or
 * the package itself if it is one.
 *
 * @throws HostError `DOWNLOAD_FAILED` if there is no such package.
 */
export async function findKernel(world: AptWorld, name: string): Promise<DebianPackage> {
  const [named] = await world.find([name]);
  const behind = named?.depends.find((dependency) => /^linux-(image|source)-\d/.test(dependency));
  const [kernel] = behind === undefined ? [named] : await world.find([behind]);
  if (kernel === undefined) throw new HostError('DOWNLOAD_FAILED', `apt finds no ${name}`);
  return kernel;
}

async function requireApt(purpose: string): Promise<void> {
  if (await hasApt()) return;
  const lacking = 'this machine lacks apt (apt-get, apt-cache, dpkg-deb, flock)';
  throw new HostError('MISSING_TOOL', `${lacking}: ${purpose}`);
}

async function debianSources(options: DebianOptions): Promise<readonly SourceEntry[]> {
  const { suite } = options;
  if (options.mirror !== undefined) return [await mirrorSource(options, options.mirror)];
  const entries = await sourcesForSuite(options.etc ?? '/etc', suite);
  if (entries.length > 0) return entries;
  throw new HostError(
    'NOT_FOUND',
    `this machine's apt sources name no Debian archive. Set VIRTIO_DEBIAN_MIRROR to the address of one. ${options.purpose ?? ownKernelAdvice}`,
  );
}

/** A Debian archive that the system does not know, trusted by the keys that its own archive vouches for. */
async function mirrorSource(options: DebianOptions, mirror: string): Promise<SourceEntry> {
  const name = 'debian-archive-keyring';
  let keyring = `/usr/share/keyrings/${name}.gpg`;
  if (!(await exists(keyring))) {
    const folder = join(options.cache, 'debian', name);
    keyring = join(folder, keyring);
    await withMachinePackages(options, `${name} is fetched by it`, async (world) => {
      await unpackPackages(await world.fetch(await world.find([name])), folder);
    });
  }
  const suites = [...new Set([options.suite.split('-')[0] ?? options.suite, options.suite])];
  return { uris: [mirror], suites, components: ['main'], signedBy: keyring, trusted: false };
}

async function withAdvice<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (!(error instanceof HostError) || error.code !== 'DOWNLOAD_FAILED') throw error;
    throw new HostError(error.code, `${error.message}\n${ownKernelAdvice}`, { cause: error });
  }
}
