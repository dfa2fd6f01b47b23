import { isTest } from '../source/source.ts';

/** A folder (or file) of `packages/virtio/src` that the rules of the layers treat as one. */
export interface Part {
  readonly name: string;
  readonly layer: number;
}

/** Folder to layer. A star stands for one folder name, and each folder it matches is a part of its own. */
const layers: readonly (readonly [pattern: string, layer: number])[] = [
  ['errors.ts', 0],
  ['peer-errors.ts', 0],
  ['spec/', 0],
  ['memory/', 1],
  ['channel/', 2],
  ['link/', 2],
  ['ipsec/', 3],
  ['virtqueue/', 2],
  ['device/', 3],
  ['driver/', 3],
  ['transports/*/', 4],
  ['devices/*/', 4],
  ['network/', 4],
  ['vhost-user/', 4],
  ['vfio-user/', 4],
  ['testing/', 5],
];

const root = 'packages/virtio/src/';

const matchers = layers.map(([pattern, layer]) => ({
  expression: new RegExp(`^${pattern.replace('.', '\\.').replace('*', '[^/]+')}`),
  layer,
}));

/** The top of the package: its tests and their fixtures may use everything, and nothing may use them. */
const tests: Part = { name: 'tests', layer: 6 };

export function inVirtio(path: string): boolean {
  return path.startsWith(root);
}

/** The part that holds a file of the package `virtio`; `undefined` when the table does not know it. */
export function partOf(path: string): Part | undefined {
  if (isTest(path)) return tests;
  const inside = path.slice(root.length);
  for (const { expression, layer } of matchers) {
    const name = expression.exec(inside)?.[0];
    if (name !== undefined) return { name: name.replace(/\/$/, ''), layer };
  }
  return undefined;
}
