import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HostError } from 'virtio/errors';
import { sourceParts } from './apt-sources.ts';
import { fileHash } from './cache.ts';
import type { Progress } from './progress.ts';
import { type Ended, findProgram, programFolders, type RunOptions, run, runOrFail } from './run.ts';
import { fieldsOf, formatSources, type SourceEntry } from './sources.ts';

/** A package at one version, as the signed index describes it. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** SHA-256 of the .deb file, in hexadecimal. */
  readonly sha256: string;
  /** Names from its Depends field, the first of each alternative. */
  readonly depends: readonly string[];
}

export interface AptWorldOptions {
  /** A folder of this world alone: its configuration and lists. */
  readonly folder: string;
  /** Where .deb files are kept, each under the name of its checksum. */
  readonly archives: string;
  /** Debian's name of the processor; `undefined` for this machine's own. */
  readonly architecture?: string;
  /** Where packages come from; `undefined` for the system's own sources as they are. */
  readonly sources?: readonly SourceEntry[];
  /** Sources beside the system's own, where those are used. */
  readonly added?: readonly SourceEntry[];
  readonly progress?: Progress;
}

/**
 * An apt of our own: it has its own lists, cache and sources, needs no root and changes nothing of the system's.
 * One process at a time may use a world; callers hold its lock.
 */
export class AptWorld {
  readonly #folder: string;
  readonly #archives: string;
  readonly #architecture: string | undefined;
  readonly #sources: readonly SourceEntry[] | undefined;
  readonly #added: readonly SourceEntry[];
  readonly #progress: Progress;

  constructor(options: AptWorldOptions) {
    this.#folder = options.folder;
    this.#archives = options.archives;
    this.#architecture = options.architecture;
    this.#sources = options.sources;
    this.#added = options.added ?? [];
    this.#progress = options.progress ?? (() => {});
  }

  /**
   * Finds the named packages, after fetching the index if it is not there or does not know one of them.
   *
   * @throws HostError `MISSING_TOOL` without apt, `DOWNLOAD_FAILED` if a package cannot be found.
   */
  async find(names: readonly string[]): Promise<DebianPackage[]> {
    const known = (await this.#ready()) ? await this.#lookUp(names) : [];
    if (missingFrom(known, names).length === 0) return known;
    const complaint = await this.update();
    const found = await this.#lookUp(names);
    const missing = missingFrom(found, names);
    if (missing.length === 0) return found;
    throw new HostError(
      'DOWNLOAD_FAILED',
      `apt finds no ${missing.join(', ')}${complaint && `: ${complaint}`}`,
    );
  }

  /** Fetches the index anew. Answers what apt complained of; some sources may fail while others do not. */
  async update(): Promise<string> {
    await this.#configure();
    this.#progress({ step: 'index', detail: 'fetching the package index' });
    return (await run('apt-get', ['-c', this.#config, 'update'])).stderr.trim();
  }

  /**
   * The packages that installing these would bring to this machine, themselves included.
   *
   * @param suite taken from where it has them, such as `bookworm-backports`; else the system's choice
   * @throws HostError `DOWNLOAD_FAILED` if apt sees no way.
   */
  async closure(names: readonly string[], suite?: string): Promise<DebianPackage[]> {
    await this.find(names);
    const preferred = suite === undefined ? [] : [`-oAPT::Default-Release=${suite}`];
    const install = ['--simulate', '--no-install-recommends', '--reinstall', 'install', ...names];
    const simulate = (): Promise<Ended> => run('apt-get', ['-c', this.#config, ...preferred, ...install]);
    let ended = await simulate();
    if (ended.status !== 0) {
      // The index may have been fetched before this suite was asked for.
      await this.update();
      ended = await simulate();
    }
    const { status, stdout, stderr } = ended;
    if (status !== 0)
      throw new HostError('DOWNLOAD_FAILED', `apt cannot resolve ${names.join(', ')}: ${stderr}`);
    // Inst NAME [installed version] (VERSION origin [ARCHITECTURE])
    const installs = stdout.toString().matchAll(/^Inst (\S+) (?:\[\S+\] )?\((\S+) /gm);
    return this.#lookUp([...installs].map(([, name, version]) => `${name}=${version}`));
  }

  /**
   * Fetches packages and answers the paths of their .deb files, in the same order. What is kept already is used
   * if its checksum holds.
   *
   * @throws HostError `DOWNLOAD_FAILED`, or `CHECKSUM_MISMATCH` if a file is not what the index says.
   */
  async fetch(packages: readonly DebianPackage[]): Promise<string[]> {
    const path = ({ sha256 }: DebianPackage): string => join(this.#archives, `${sha256}.deb`);
    const missing: DebianPackage[] = [];
    for (const one of packages) {
      if ((await fileHash(path(one))) !== one.sha256) missing.push(one);
    }
    if (missing.length > 0) await this.#download(missing, path);
    return packages.map(path);
  }

  async #download(packages: readonly DebianPackage[], path: (one: DebianPackage) => string): Promise<void> {
    await mkdir(this.#archives, { recursive: true });
    const folder = await mkdtemp(join(this.#archives, '.download-'));
    try {
      const names = packages.map(({ name, version }) => `${name}=${version}`);
      const detail =
        packages.length > 3 ? `${packages.length} packages` : packages.map(({ name }) => name).join(', ');
      const report = (fraction: number): void => this.#progress({ step: 'download', detail, fraction });
      report(0);
      const args = ['-c', this.#config, '-oAPT::Status-Fd=3', 'download', ...names];
      const { status, stderr } = await run('apt-get', args, { cwd: folder, onStatusLine: percentTo(report) });
      if (status !== 0)
        throw new HostError('DOWNLOAD_FAILED', `apt cannot fetch ${detail}: ${stderr.trim()}`);
      report(1);

      const files = new Map<string | undefined, string>();
      for (const name of await readdir(folder))
        files.set(await fileHash(join(folder, name)), join(folder, name));
      for (const one of packages) {
        const file = files.get(one.sha256);
        if (file === undefined) {
          throw new HostError(
            'CHECKSUM_MISMATCH',
            `${one.name} ${one.version} is not the file of the signed index`,
          );
        }
        await rename(file, path(one));
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #lookUp(names: readonly string[]): Promise<DebianPackage[]> {
    if (names.length === 0) return [];
    const args = ['-c', this.#config, 'show', '--no-all-versions', ...names];
    const { stdout } = await run('apt-cache', args);
    return stdout.toString().split(/\n\n+/).map(fieldsOf).flatMap(toPackage);
  }

  get #config(): string {
    return join(this.#folder, 'apt.conf');
  }

  /** Whether the index was fetched before. The configuration is written anew: the system's sources may have changed. */
  async #ready(): Promise<boolean> {
    await this.#configure();
    const lists = await readdir(join(this.#folder, 'lists'));
    return lists.some((name) => name.includes('_Packages'));
  }

  async #configure(): Promise<void> {
    await mkdir(join(this.#folder, 'lists', 'partial'), { recursive: true });
    await mkdir(join(this.#folder, 'cache', 'archives', 'partial'), { recursive: true });
    const settings = [
      `Dir::State::Lists "${join(this.#folder, 'lists')}";`,
      `Dir::Cache "${join(this.#folder, 'cache')}";`,
      // Hooks that the system's administrator put here act on the system.
      '#clear APT::Update::Pre-Invoke;',
      '#clear APT::Update::Post-Invoke;',
      '#clear APT::Update::Post-Invoke-Success;',
      'Acquire::Languages "none";',
    ];
    if (this.#architecture !== undefined) {
      settings.push(
        `APT::Architecture "${this.#architecture}";`,
        '#clear APT::Architectures;',
        `APT::Architectures:: "${this.#architecture}";`,
        'Dir::State::status "/dev/null";',
      );
    }
    if (this.#sources === undefined && this.#added.length > 0) {
      settings.push(`Dir::Etc::sourceparts "${await this.#systemPartsAndAdded()}";`);
    }
    if (this.#sources !== undefined) {
      const sources = join(this.#folder, 'private.sources');
      await writeFile(sources, formatSources(this.#sources));
      settings.push(
        `Dir::Etc::sourcelist "${sources}"; Dir::Etc::sourceparts "-";`,
        'Dir::Etc::preferences "-"; Dir::Etc::preferencesparts "-"; APT::Default-Release "";',
      );
    }
    await writeFile(this.#config, `${settings.join('\n')}\n`);
  }

  /** A folder of links to the parts of the system's sources, with ours beside them. */
  async #systemPartsAndAdded(): Promise<string> {
    const folder = join(this.#folder, 'sources.list.d');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    for (const path of await sourceParts('/etc')) await symlink(path, join(folder, basename(path)));
    await writeFile(join(folder, 'virtio-added.sources'), formatSources(this.#added));
    return folder;
  }
}

/** Unpacks .deb files over one another into a folder. */
export async function unpackPackages(
  files: readonly string[],
  folder: string,
  options?: RunOptions,
): Promise<void> {
  for (const file of files) await runOrFail('dpkg-deb', ['--extract', file, folder], options);
}

/** Whether this machine has what an {@link AptWorld} needs. */
export async function hasApt(): Promise<boolean> {
  const tools = ['apt-get', 'apt-cache', 'dpkg-deb', 'flock'];
  const found = await Promise.all(tools.map((tool) => findProgram(tool, programFolders())));
  return !found.includes(undefined);
}

function missingFrom(packages: readonly DebianPackage[], names: readonly string[]): string[] {
  return names.filter((name) => !packages.some((one) => one.name === name));
}

function percentTo(report: (fraction: number) => void): (line: string) => void {
  return (line) => {
    const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1];
    if (percent !== undefined) report(Number(percent) / 100);
  };
}

function toPackage(fields: Map<string, string>): DebianPackage[] {
  const [name, version, architecture] = ['package', 'version', 'architecture'].map((key) => fields.get(key));
  const sha256 = fields.get('sha256');
  if (!name || !version || !architecture || !sha256 || !/^[0-9a-f]{64}$/.test(sha256)) return [];
  const alternatives = (fields.get('depends') ?? '').split(',');
  const depends = alternatives.flatMap((one) => one.trim().split(/[\s:|(]/)[0] || []);
  return [{ name, version, architecture, sha256, depends }];
}
