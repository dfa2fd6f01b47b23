import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** A TypeScript file of the repository, parsed. */
export interface Source {
  /** From the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

/** The folders whose TypeScript the checks read. */
const folders = ['packages', 'conformance', 'benchmarks', 'examples', 'fuzz', 'guests', 'tools'];

const ignored = new Set(['node_modules', 'dist', 'coverage', '.cache']);

export function parseSource(path: string, text: string): Source {
  return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true) };
}

/** Every TypeScript file under `root` that belongs to the project, in the order of its path. */
export function readSources(root: string): Source[] {
  return folders
    .flatMap((folder) => typescriptFiles(root, folder))
    .sort()
    .map((path) => parseSource(path, readFileSync(join(root, path), 'utf8')));
}

function typescriptFiles(root: string, folder: string): string[] {
  let entries: ReturnType<typeof listFolder>;
  try {
    entries = listFolder(join(root, folder));
  } catch {
    return []; // A folder that does not exist (yet) holds no files.
  }
  return entries.flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return ignored.has(entry.name) ? [] : typescriptFiles(root, path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : [];
  });
}

const listFolder = (path: string) => readdirSync(path, { withFileTypes: true });

/** Tests, and what only tests use: neither is built nor published. */
export function isTest(path: string): boolean {
  return /\.(test|fixture)\.ts$/.test(path);
}

/** The 1-based line of a position. */
export function lineAt(source: Source, position: number): number {
  return source.tree.getLineAndCharacterOfPosition(position).line + 1;
}

/** Calls `visit` for every node of the file, outermost first. */
export function walk(source: Source, visit: (node: ts.Node) => void): void {
  const step = (node: ts.Node): void => {
    visit(node);
    ts.forEachChild(node, step);
  };
  step(source.tree);
}
