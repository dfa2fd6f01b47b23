import { importsOf } from '../source/imports.ts';
import { isTest, type Source } from '../source/source.ts';
import {
  type Package,
  packageOf,
  resolveImport,
  splitSpecifier,
  type Workspace,
} from '../source/workspace.ts';
import type { Finding } from './finding.ts';

/**
 * Rule 2 of the layers: a package is used through its published subpaths only, by our own other packages
 * too, and what a package uses it declares.
 */
export function checkPublished(sources: readonly Source[], workspace: Workspace): Finding[] {
  return sources.flatMap((source) =>
    importsOf(source).flatMap(({ specifier, line }) => {
      const message = specifier.startsWith('.')
        ? objectToPath(workspace, source.path, specifier)
        : objectToName(workspace, source.path, specifier);
      return message === undefined ? [] : [{ file: source.path, line, message }];
    }),
  );
}

function objectToPath(workspace: Workspace, path: string, specifier: string): string | undefined {
  const target = packageOf(workspace, resolveImport(workspace, path, specifier) ?? '');
  if (target === undefined || target === packageOf(workspace, path)) return undefined;
  return `reaches into ${target.folder} by path: import a published subpath of ${target.name}`;
}

function objectToName(workspace: Workspace, path: string, specifier: string): string | undefined {
  const { name, subpath } = splitSpecifier(specifier);
  const target = workspace.packages.find((candidate) => candidate.name === name);
  if (target && !target.subpaths.has(subpath)) return `${name} does not publish ${subpath}`;
  const owner = packageOf(workspace, path);
  if (owner === undefined) return undefined;
  const shipped = path.startsWith(`${owner.folder}/src/`) && !isTest(path);
  return shipped
    ? objectToShipped(owner, specifier, name)
    : objectToUnshipped(workspace, owner, specifier, name);
}

function objectToShipped(owner: Package, specifier: string, name: string): string | undefined {
  if (owner.name === 'virtio') return `virtio depends on nothing, and this imports ${specifier}`;
  if (specifier.startsWith('node:') || owner.dependencies.has(name)) return undefined;
  return `${name} is not among the dependencies of ${owner.name}`;
}

function objectToUnshipped(
  workspace: Workspace,
  owner: Package,
  specifier: string,
  name: string,
): string | undefined {
  const declared = [owner.dependencies, owner.devDependencies, workspace.devDependencies];
  if (specifier.startsWith('node:') || declared.some((names) => names.has(name))) return undefined;
  return `${name} is in no package.json that ${owner.name} may use for tests`;
}
