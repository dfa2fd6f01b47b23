import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** One of the published packages, as its `package.json` says. */
export interface Package {
  readonly name: string;
  /** `packages/…`, from the repository's root. */
  readonly folder: string;
  /** Subpath (`./spec`) to source file (`./src/spec/index.ts`). */
  readonly subpaths: ReadonlyMap<string, string>;
  /** What its users get with it: dependencies and peers. */
  readonly dependencies: ReadonlySet<string>;
  /** What only its tests and pages may use. */
  readonly devDependencies: ReadonlySet<string>;
}

export interface Workspace {
  readonly packages: readonly Package[];
  /** The root's development dependencies, for tests and for what is not published. */
  readonly devDependencies: ReadonlySet<string>;
}

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, { readonly source?: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export function readWorkspace(root: string): Workspace {
  const folders = readdirSync(join(root, 'packages')).map((name) => `packages/${name}`);
  return {
    packages: folders.map((folder) => packageFrom(folder, readManifest(root, folder))),
    devDependencies: new Set(Object.keys(readManifest(root, '.').devDependencies ?? {})),
  };
}

function readManifest(root: string, folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
}

export function packageFrom(folder: string, manifest: Manifest): Package {
  const subpaths = Object.entries(manifest.exports ?? {}).map(
    ([subpath, target]) => [subpath, target.source ?? ''] as const,
  );
  return {
    name: manifest.name,
    folder,
    subpaths: new Map(subpaths),
    dependencies: new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })),
    devDependencies: new Set(Object.keys(manifest.devDependencies ?? {})),
  };
}

/** The package that holds a file; `undefined` for what is not published. */
export function packageOf(workspace: Workspace, path: string): Package | undefined {
  return workspace.packages.find(({ folder }) => path.startsWith(`${folder}/`));
}

/** `virtio/devices/blk` is package `virtio`, subpath `./devices/blk`. */
export function splitSpecifier(specifier: string): { readonly name: string; readonly subpath: string } {
  const length = specifier.startsWith('@') ? 2 : 1;
  const words = specifier.split('/');
  const rest = words.slice(length).join('/');
  return { name: words.slice(0, length).join('/'), subpath: rest === '' ? '.' : `./${rest}` };
}

/** The file of this repository that an import reaches; `undefined` when it leaves the repository. */
export function resolveImport(workspace: Workspace, from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(from), specifier);
  const { name, subpath } = splitSpecifier(specifier);
  const target = workspace.packages.find((candidate) => candidate.name === name);
  const file = target?.subpaths.get(subpath);
  return target && file ? posix.join(target.folder, file) : undefined;
}
