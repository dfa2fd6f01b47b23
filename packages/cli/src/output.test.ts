import { expect, it } from 'vitest';
import { formatBytes } from './format-bytes.ts';
import { formatJson, formatTable, takesColour } from './output.ts';

it.each([
  [{ isTTY: true }, {}, true],
  [{ isTTY: true }, { NO_COLOR: '1' }, false],
  [{ isTTY: true }, { NO_COLOR: '' }, true],
  [{ isTTY: true }, { TERM: 'dumb' }, false],
  [{}, {}, false],
  [{}, { FORCE_COLOR: '1' }, true],
  [{}, { FORCE_COLOR: '0' }, false],
  [{}, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
])('decides on colour for %j in %j', (stream, environment, colour) => {
  expect(takesColour(stream, environment)).toBe(colour);
});

it('pads columns and leaves no space at the end of a line', () => {
  expect(
    formatTable([
      ['a', 'bb', ''],
      ['ccc', 'd', 'e'],
    ]),
  ).toBe('a    bb\nccc  d   e\n');
});

it('puts the schema number into every JSON answer', () => {
  expect(JSON.parse(formatJson({ a: 1 }))).toEqual({ schema: 1, a: 1 });
});

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [64 * 2 ** 20, '64 MiB'],
  [1.25 * 2 ** 40, '1.3 TiB'],
])('says %d bytes as %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});
