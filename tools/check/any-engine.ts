import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { isTest, lineAt, type Source } from '../source/source.ts';
import type { Finding } from './finding.ts';

const config = 'packages/virtio/tsconfig.json';

/** Rule 3 of the layers: `virtio` compiles with ES2022 and nothing else, so nobody may loosen that. */
export function checkAnyEngine(root: string, sources: readonly Source[]): Finding[] {
  return [
    ...checkOptions(effectiveOptions(root)),
    ...checkDependencies(readFileSync(join(root, 'packages/virtio/package.json'), 'utf8')),
    ...sources.filter(({ path }) => path.startsWith('packages/virtio/src/')).flatMap(checkReferences),
  ];
}

function effectiveOptions(root: string): ts.CompilerOptions {
  const path = join(root, config);
  const { config: json } = ts.readConfigFile(path, ts.sys.readFile);
  return ts.parseJsonConfigFileContent(json, ts.sys, join(path, '..')).options;
}

export function checkOptions({ lib, types }: ts.CompilerOptions): Finding[] {
  const findings: Finding[] = [];
  if (lib?.join() !== 'lib.es2022.d.ts') {
    findings.push({ file: config, message: '`lib` must be exactly ["ES2022"]: no DOM, no newer library' });
  }
  if (types === undefined || types.length > 0) {
    findings.push({ file: config, message: '`types` must be exactly []: no Node types' });
  }
  return findings;
}

export function checkDependencies(manifest: string): Finding[] {
  const { dependencies, peerDependencies, optionalDependencies } = JSON.parse(manifest);
  return Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies }).map((name) => ({
    file: 'packages/virtio/package.json',
    message: `virtio depends on nothing, and this lists ${name}`,
  }));
}

/** `/// <reference lib="dom" />` would bring in by the window what the configuration keeps out. */
export function checkReferences(source: Source): Finding[] {
  const { libReferenceDirectives, typeReferenceDirectives } = source.tree;
  if (isTest(source.path)) return [];
  return [...libReferenceDirectives, ...typeReferenceDirectives].map(({ fileName, pos }) => ({
    file: source.path,
    line: lineAt(source, pos),
    message: `virtio runs on any engine, and this refers to the types of "${fileName}"`,
  }));
}
