import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parseSource } from '../source/source.ts';
import { checkDependencies, checkOptions, checkReferences } from './any-engine.ts';

describe('virtio runs on any engine', () => {
  const options = (json: object) => ts.convertCompilerOptionsFromJson(json, '.').options;

  it('admits ES2022 with no types', () => {
    expect(checkOptions(options({ lib: ['ES2022'], types: [] }))).toEqual([]);
  });

  it.each([
    { lib: ['ES2022', 'DOM'], types: [] },
    { lib: ['ES2024'], types: [] },
    { types: [] },
    { lib: ['ES2022'], types: ['node'] },
    { lib: ['ES2022'] },
  ])('refuses %o', (json) => {
    expect(checkOptions(options(json))).toHaveLength(1);
  });

  it('refuses a dependency of any kind', () => {
    expect(checkDependencies('{ "devDependencies": { "vitest": "*" } }')).toEqual([]);
    expect(checkDependencies('{ "dependencies": { "koffi": "*" } }')).toHaveLength(1);
    expect(checkDependencies('{ "peerDependencies": { "v86": "*" } }')).toHaveLength(1);
  });

  it('refuses references that bring types in by the window', () => {
    const text = '/// <reference lib="dom" />\n/// <reference types="node" />\n';
    expect(checkReferences(parseSource('packages/virtio/src/errors.ts', text))).toHaveLength(2);
    expect(checkReferences(parseSource('packages/virtio/src/errors.test.ts', text))).toEqual([]);
  });
});
