import { type CpioEntry, writeCpio } from './cpio.ts';
import { controlScript, dhcpScript, initScript, inittab, profile } from './init-scripts.ts';
import { modulesDep, readModules } from './kernel-modules.ts';
import { packagedPrograms } from './packaged-programs.ts';

const text = new TextEncoder();
const folders = [
  ...['bin', 'sbin', 'dev', 'etc', 'lib', 'lib/modules', 'mnt', 'proc', 'root', 'run', 'sys', 'tmp', 'usr'],
  ...['usr/bin', 'usr/sbin', 'var'],
];

/** What an initramfs is made of. */
export interface InitramfsParts {
  /** Kernel release, as `uname -r` says it. */
  readonly release: string;
  /** The kernel's module folder, `…/lib/modules/<release>`. */
  readonly modulesFolder: string;
  /** A static busybox for the guest's processor. */
  readonly busybox: Uint8Array;
  /** Modules that the guest loads at boot, in the order in which they are asked for. */
  readonly bootModules: readonly string[];
  /** Modules to put in beside those; the guest loads them by `modprobe`. */
  readonly modules: readonly string[];
  /** A folder of unpacked packages, whose programs and libraries to put in. */
  readonly programs?: string | undefined;
}

/**
 * Builds the initramfs of the guest: busybox, the modules and the scripts that serve the control channel. It
 * is not compressed: an emulated processor unpacks more slowly than the host copies.
 *
 * @throws HostError `NOT_FOUND` for a module that this kernel does not have.
 */
export async function buildInitramfs(parts: InitramfsParts): Promise<Uint8Array> {
  const modules = await readModules(parts.modulesFolder, [...parts.bootModules, ...parts.modules]);
  const home = `lib/modules/${parts.release}`;
  // What is built into the kernel needs no loading.
  const files = new Set(modules.map(({ name }) => name));
  const loaded = parts.bootModules.filter((name) => files.has(name));
  const entries: CpioEntry[] = [
    ...folders.map((path): CpioEntry => ({ type: 'directory', path })),
    { type: 'character', path: 'dev/console', major: 5, minor: 1 },
    { type: 'character', path: 'dev/null', major: 1, minor: 3 },
    { type: 'file', path: 'bin/busybox', data: parts.busybox, mode: 0o755 },
    script('init', initScript),
    script('etc/control', controlScript),
    script('etc/dhcp', dhcpScript),
    plain('etc/inittab', inittab),
    plain('etc/profile', profile),
    plain('etc/passwd', 'root::0:0:root:/root:/bin/sh\n'),
    plain('etc/group', 'root:x:0:\n'),
    plain('etc/modules', `${loaded.join(' ')}\n`),
    ...parentFolders(modules.map((module) => `${home}/${module.path}`)),
    ...modules.map(
      (module): CpioEntry => ({ type: 'file', path: `${home}/${module.path}`, data: module.data }),
    ),
    plain(`${home}/modules.dep`, modulesDep(modules)),
  ];
  if (parts.programs !== undefined) {
    const present = entries.map(({ path }) => path);
    for (const entry of await packagedPrograms(parts.programs, present)) entries.push(entry);
  }
  return writeCpio(entries);
}

function plain(path: string, content: string): CpioEntry {
  return { type: 'file', path, data: text.encode(content) };
}

function script(path: string, content: string): CpioEntry {
  return { type: 'file', path, data: text.encode(content), mode: 0o755 };
}

/** The folders below `lib/modules` that these paths lie in, outermost first. */
function parentFolders(paths: readonly string[]): CpioEntry[] {
  const parents = new Set<string>();
  for (const path of paths) {
    const steps = path.split('/');
    for (let depth = 3; depth < steps.length; depth++) parents.add(steps.slice(0, depth).join('/'));
  }
  return [...parents].map((path) => ({ type: 'directory', path }));
}
