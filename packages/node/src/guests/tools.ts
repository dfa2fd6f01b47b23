import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { type AptWorld, type DebianPackage, unpackPackages } from './apt-world.ts';
import { cacheFolder, isMissing, publishFolder } from './cache.ts';
import { withDebian, withMachinePackages } from './debian.ts';
import { withInterpreter } from './elf-interpreter.ts';
import type { Progress } from './progress.ts';
import { isProgram, programFolders, run } from './run.ts';

interface ToolRecipe {
  readonly packages: readonly string[];
  /** The program that stands for the tool, and where its package has it. */
  readonly program: string;
  readonly folder: string;
  /** Arguments with which it starts, does nothing and succeeds. */
  readonly check: readonly string[];
  /** What it has to write then, where not every version will do. */
  readonly says?: RegExp;
  /** Taken from the release's backports, where the release's own is old. */
  readonly backports?: boolean;
  /** Taken from this suite of Debian on every machine, with a C library of its own. */
  readonly suite?: string;
  /** Programs beside it that need that library too, for it starts them. */
  readonly helpers?: readonly string[];
  /** Packages that it can do without, though they are among those it depends on. */
  readonly without?: readonly string[];
}

const qemu = { folder: 'usr/bin', check: ['--version'], backports: true };

const recipes = {
  e2fsprogs: { packages: ['e2fsprogs'], program: 'mke2fs', folder: 'sbin', check: ['-V'] },
  acpica: { packages: ['acpica-tools'], program: 'iasl', folder: 'usr/bin', check: ['-v'] },
  // /usr/bin/chromium is a script that wants the system's folders.
  chromium: {
    packages: ['chromium', 'fonts-dejavu-core'],
    program: 'chromium',
    folder: 'usr/lib/chromium',
    check: ['--version'],
  },
  'qemu-img': { ...qemu, packages: ['qemu-utils'], program: 'qemu-img' },
  nbdkit: { packages: ['nbdkit'], program: 'nbdkit', folder: 'usr/bin', check: ['--version'] },
  // With libblkio, which the releases before have not.
  'nbdkit-blkio': {
    packages: ['nbdkit'],
    program: 'nbdkit',
    folder: 'usr/bin',
    check: ['--version'],
    suite: 'trixie',
    // What other plugins of it reach.
    without: [
      'libcurl3t64-gnutls',
      'libext2fs2t64',
      'libnbd0',
      'libssh-4',
      'libssl3t64',
      'libtorrent-rasterbar2.0t64',
    ],
  },
  'qemu-x86': { ...qemu, packages: ['qemu-system-x86'], program: 'qemu-system-x86_64' },
  'qemu-arm': { ...qemu, packages: ['qemu-system-arm'], program: 'qemu-system-aarch64' },
  // Older releases have it in one package with all the rarer machines.
  'qemu-11': {
    packages: ['qemu-system-x86'],
    program: 'qemu-system-x86_64',
    folder: 'usr/bin',
    check: ['-device', 'help'],
    says: /"vfio-user-pci"/,
    suite: 'trixie-backports',
    // Modules for sound and screens, firmware of network cards, ciphers of the past, accounts.
    without: ['qemu-system-common', 'ipxe-qemu', 'openssl-provider-legacy', 'adduser'],
  },
  virtiofsd: {
    packages: ['virtiofsd'],
    program: 'virtiofsd',
    folder: 'usr/libexec',
    check: ['--version'],
    suite: 'trixie',
  },
  // A network for guests; it starts the form of itself that suits the processor.
  passt: {
    packages: ['passt'],
    program: 'passt',
    folder: 'usr/bin',
    check: ['--version'],
    suite: 'trixie',
    helpers: ['passt.avx2'],
    without: ['adduser'],
  },
  tshark: { packages: ['tshark'], program: 'tshark', folder: 'usr/bin', check: ['--version'] },
  iperf3: { packages: ['iperf3'], program: 'iperf3', folder: 'usr/bin', check: ['--version'] },
  'vhost-device-vsock': {
    packages: ['vhost-device-vsock'],
    program: 'vhost-device-vsock',
    folder: 'usr/bin',
    check: ['--version'],
    suite: 'forky',
  },
  'qemu-s390x': { ...qemu, packages: ['qemu-system-s390x'], program: 'qemu-system-s390x' },
} as const satisfies Record<string, ToolRecipe>;

/** A tool that can be had without root. */
export type ToolName = keyof typeof recipes;

export interface Tool {
  /** Path of its main program; `mke2fs` for e2fsprogs, `qemu-system-aarch64` for qemu-arm. */
  readonly file: string;
  /** Folder of its programs. */
  readonly folder: string;
  /** Variables to be added to the environment of its programs. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface ToolOptions {
  /** Cache folder; {@link cacheFolder} unless told. */
  readonly cache?: string;
  /** Where to look for the tool first; `$PATH` and the administrator's folders unless told. */
  readonly path?: readonly string[];
  readonly progress?: Progress;
}

/**
 * Finds a tool on this machine, or else unpacks its packages, and what they need, into the user's cache. Nothing
 * is installed and no root is needed. The tool was started once before it is answered.
 *
 * @throws HostError `MISSING_TOOL` if the tool is neither here nor to be had by apt, or does not start;
 *   `DOWNLOAD_FAILED`, `CHECKSUM_MISMATCH` as for packages.
 */
export async function ensureTool(name: ToolName, options: ToolOptions = {}): Promise<Tool> {
  const recipe: ToolRecipe = recipes[name];
  const system = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const folder of options.path ?? [...programFolders(), ...system]) {
    const tool: Tool = { file: join(folder, recipe.program), folder, environment: {} };
    if ((await isProgram(tool.file)) && (await starts(tool, recipe))) return tool;
  }

  const cache = options.cache ?? cacheFolder();
  const folder = join(cache, 'tools', name);
  const kept = await keptTool(folder, recipe);
  if (kept) return kept;
  const progress = options.progress ?? (() => {});
  const made = { name, recipe, folder, progress };
  const purpose = `${name} is not installed and would be fetched by it`;
  const { suite } = recipe;
  if (suite === undefined) {
    return withMachinePackages({ cache, progress }, purpose, (world, backports) =>
      fetchTool(world, recipe.backports ? backports : undefined, made),
    );
  }
  const architecture = debianArchitectures[process.arch];
  if (architecture === undefined) {
    throw new HostError('MISSING_TOOL', `${name} is not installed, and there is none for ${process.arch}`);
  }
  return withDebian({ cache, suite, architecture, purpose, progress }, (world) =>
    fetchTool(world, suite, made),
  );
}

/** Debian's names of the processors that our tools are for, by Node's. */
const debianArchitectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

interface ToolPlace {
  readonly name: ToolName;
  readonly recipe: ToolRecipe;
  readonly folder: string;
  readonly progress: Progress;
}

/** Unpacks a tool into its folder, unless another process has done so meanwhile. */
async function fetchTool(
  world: AptWorld,
  suite: string | undefined,
  { name, recipe, folder, progress }: ToolPlace,
): Promise<Tool> {
  const meanwhile = await keptTool(folder, recipe);
  if (meanwhile) return meanwhile;
  const closure = reachable(await world.closure(recipe.packages, suite), recipe);
  // The C library belongs to the dynamic linker that is used; another one beside it does not start.
  const ownLibrary = recipe.suite !== undefined;
  const foreign = closure.filter((one) => ownLibrary || !/^(libc6|libc-bin)$/.test(one.name));
  const files = await world.fetch(foreign);
  progress({ step: 'unpack', detail: `${name}: ${files.length} packages` });
  await publishFolder(folder, async (into) => {
    await unpackPackages(files, into);
    for (const program of ownLibrary ? [recipe.program, ...(recipe.helpers ?? [])] : []) {
      const file = join(into, recipe.folder, program);
      if (program === recipe.program || (await isProgram(file))) await useOwnLibrary(file, into, folder);
    }
    await writeFile(join(into, fontsName), fontsConfiguration(folder));
    await writeFile(join(into, inventoryName), JSON.stringify(await inventory(into)));
  });
  const fresh = await keptTool(folder, recipe);
  if (fresh) return fresh;
  throw new HostError('MISSING_TOOL', `${name} was unpacked to ${folder} but does not start`);
}

/** Of the packages that installing the tool would bring, those without the dispensable ones and what they alone need. */
function reachable(
  closure: readonly DebianPackage[],
  { packages, without }: ToolRecipe,
): readonly DebianPackage[] {
  if (without === undefined) return closure;
  const found = new Set<DebianPackage>();
  const visit = (name: string): void => {
    const one = closure.find((other) => other.name === name);
    if (one === undefined || found.has(one) || without.includes(name)) return;
    found.add(one);
    for (const dependency of one.depends) visit(dependency);
  };
  for (const name of packages) visit(name);
  return [...found];
}

/** Has a program be loaded with the C library that was unpacked beside it. */
async function useOwnLibrary(program: string, into: string, final: string): Promise<void> {
  const entries = await readdir(into, { recursive: true, withFileTypes: true });
  const loader = entries.find((entry) => entry.isFile() && /^ld-linux-.*\.so\.\d$/.test(entry.name));
  if (loader === undefined) throw new HostError('BAD_IMAGE', 'the packages have no dynamic linker');
  const path = join(final, loader.parentPath.slice(into.length), loader.name);
  await writeFile(program, withInterpreter(await readFile(program), path));
}

const inventoryName = '.inventory.json';
const fontsName = '.fonts.conf';

/** The tool unpacked in this folder, if every file still has its size and the program starts. */
async function keptTool(folder: string, recipe: ToolRecipe): Promise<Tool | undefined> {
  if (!(await isWhole(folder))) return undefined;
  const programs = join(folder, recipe.folder);
  const tool: Tool = {
    file: join(programs, recipe.program),
    folder: programs,
    environment: await environment(folder),
  };
  return (await starts(tool, recipe)) ? tool : undefined;
}

async function isWhole(folder: string): Promise<boolean> {
  try {
    const expected = await readFile(join(folder, inventoryName), 'utf8');
    return expected === JSON.stringify(await inventory(folder));
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Path and size of every plain file below the folder. */
async function inventory(folder: string): Promise<(readonly [string, number])[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name !== inventoryName);
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Promise.all(
    paths.map(async (path) => [path.slice(folder.length + 1), (await stat(path)).size] as const),
  );
}

/** Lets programs find their libraries and fonts below the folder instead of in the system. */
async function environment(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const libraries = entries.filter((entry) => /\.so(\.|$)/.test(entry.name)).map((entry) => entry.parentPath);
  const inherited = process.env.LD_LIBRARY_PATH;
  const path = [...new Set(libraries), ...(inherited ? [inherited] : [])].join(':');
  return { LD_LIBRARY_PATH: path, FONTCONFIG_FILE: join(folder, fontsName) };
}

function fontsConfiguration(folder: string): string {
  const folders = [join(folder, 'usr/share/fonts'), '/usr/share/fonts'];
  return `<fontconfig>${folders.map((path) => `<dir>${path}</dir>`).join('')}</fontconfig>\n`;
}

async function starts(tool: Tool, recipe: ToolRecipe): Promise<boolean> {
  const { environment, file } = tool;
  const { status, stdout } = await run(file, recipe.check, { environment });
  return status === 0 && (recipe.says === undefined || recipe.says.test(stdout.toString()));
}
