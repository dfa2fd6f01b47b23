import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HostError } from 'virtio/errors';

/** A kernel module file of an unpacked kernel package. */
export interface KernelModule {
  /** Its name as the kernel knows it, with underscores. */
  readonly name: string;
  /** Path below the modules folder, such as `kernel/fs/mbcache.ko`. */
  readonly path: string;
  readonly data: Uint8Array;
  /** Names of the modules that have to be loaded before it. */
  readonly depends: readonly string[];
}

/**
 * Reads the named modules of a kernel and everything they depend on, in an order in which each can be
 * inserted. A kernel package carries no modules.dep (depmod makes it at installation), so the dependencies
 * are taken from where depmod takes them: the modules themselves.
 *
 * @param folder the kernel's module folder, `lib/modules/<release>`
 * @param names modules wanted; one that is built into the kernel is left out of the answer
 * @throws HostError `NOT_FOUND` for a module that this kernel does not have.
 */
export async function readModules(folder: string, names: readonly string[]): Promise<KernelModule[]> {
  const paths = await modulePaths(folder);
  const builtin = await builtinNames(folder);
  const done = new Map<string, KernelModule>();

  async function visit(wanted: string): Promise<void> {
    const name = kernelName(wanted);
    if (done.has(name) || builtin.has(name)) return;
    const path = paths.get(name);
    if (path === undefined) throw new HostError('NOT_FOUND', `this kernel has no module ${wanted}`);
    const data = await readFile(join(folder, path));
    const depends = moduleInfo(data, 'depends').flatMap((list) => list.split(',').filter(Boolean));
    for (const dependency of depends) await visit(dependency);
    done.set(name, { name, path, data, depends: depends.map(kernelName).filter((other) => done.has(other)) });
  }

  for (const name of names) await visit(name);
  return [...done.values()];
}

/** The text of a modules.dep for what {@link readModules} answered. */
export function modulesDep(modules: readonly KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const closure = (module: KernelModule): Set<KernelModule> => {
    const direct = module.depends.flatMap((name) => byName.get(name) ?? []);
    return new Set([...direct, ...direct.flatMap((dependency) => [...closure(dependency)])]);
  };
  // modprobe inserts the last one on the line first.
  const lastFirst = [...modules].reverse();
  return modules
    .map((module) => {
      const needed = closure(module);
      const paths = lastFirst.filter((other) => needed.has(other)).map(({ path }) => path);
      return `${[`${module.path}:`, ...paths].join(' ')}\n`;
    })
    .join('');
}

/** The values of `key` in a module's .modinfo, a run of `key=value` texts that each end in a zero byte. */
export function moduleInfo(module: Uint8Array, key: string): string[] {
  const bytes = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  const start = `\0${key}=`;
  const values: string[] = [];
  for (let at = bytes.indexOf(start); at >= 0; at = bytes.indexOf(start, at + 1)) {
    values.push(bytes.toString('latin1', at + start.length, bytes.indexOf(0, at + 1)));
  }
  return values;
}

async function modulePaths(folder: string): Promise<Map<string, string>> {
  const files = await readdir(join(folder, 'kernel'), { recursive: true });
  const modules = files.filter((file) => file.endsWith('.ko'));
  return new Map(modules.map((file) => [kernelName(basename(file, '.ko')), `kernel/${file}`]));
}

async function builtinNames(folder: string): Promise<Set<string>> {
  const lines = (await readFile(join(folder, 'modules.builtin'), 'utf8')).split('\n').filter(Boolean);
  return new Set(lines.map((line) => kernelName(basename(line, '.ko'))));
}

function kernelName(name: string): string {
  return name.replaceAll('-', '_');
}
