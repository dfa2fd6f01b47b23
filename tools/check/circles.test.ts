import { expect, it } from 'vitest';
import { checkCircles } from './circles.ts';
import { graphOf } from './repository.fixture.ts';

it('admits a diamond', () => {
  const graph = graphOf({
    'spec/a.ts': ['./b.ts', './c.ts'],
    'spec/b.ts': ['./d.ts'],
    'spec/c.ts': ['./d.ts'],
    'spec/d.ts': [],
  });
  expect(checkCircles(graph)).toEqual([]);
});

it('reports a circle once, with its way', () => {
  const graph = graphOf({ 'spec/a.ts': ['./b.ts'], 'spec/b.ts': ['./c.ts'], 'spec/c.ts': ['./b.ts'] });
  const way = ['b', 'c', 'b'].map((name) => `packages/virtio/src/spec/${name}.ts`).join(' → ');
  expect(checkCircles(graph)).toEqual([
    { file: 'packages/virtio/src/spec/b.ts', message: `is in an import circle: ${way}` },
  ]);
});

it('finds a file that imports itself', () => {
  expect(checkCircles(graphOf({ 'spec/a.ts': ['./a.ts'] }))).toHaveLength(1);
});
