import fc from 'fast-check';
import { UsageError } from 'virtio/errors';
import { expect, test } from 'vitest';
import { readCpio } from './cpio.fixture.ts';
import { writeCpio } from './cpio.ts';

test('an archive reads back as it was written', () => {
  const archive = writeCpio([
    { type: 'directory', path: 'bin' },
    { type: 'file', path: 'bin/tool', data: Uint8Array.of(1, 2, 3, 4, 5), mode: 0o755 },
    { type: 'symlink', path: 'bin/ü', target: 'tool' },
    { type: 'character', path: 'console', major: 5, minor: 1 },
  ]);
  expect(readCpio(archive).map(({ data, ...rest }) => ({ ...rest, data: data.toString('hex') }))).toEqual([
    { path: 'bin', mode: 0o040755, data: '', device: [0, 0] },
    { path: 'bin/tool', mode: 0o100755, data: '0102030405', device: [0, 0] },
    { path: 'bin/ü', mode: 0o120777, data: Buffer.from('tool').toString('hex'), device: [0, 0] },
    { path: 'console', mode: 0o020600, data: '', device: [5, 1] },
  ]);
});

test('names and contents of every length keep their places', () => {
  const path = fc.stringMatching(/^[a-z]{1,40}$/);
  const files = fc.uniqueArray(fc.record({ path, data: fc.uint8Array({ maxLength: 40 }) }), {
    selector: (file) => file.path,
  });
  fc.assert(
    fc.property(files, (all) => {
      const read = readCpio(writeCpio(all.map((file) => ({ type: 'file', ...file }))));
      expect(read.map(({ path, data }) => ({ path, data: [...data] }))).toEqual(
        all.map(({ path, data }) => ({ path, data: [...data] })),
      );
    }),
  );
});

test('equal trees give equal bytes', () => {
  const write = (): Uint8Array => writeCpio([{ type: 'file', path: 'a', data: Uint8Array.of(7) }]);
  expect(write()).toEqual(write());
});

test.each(['', '/etc'])('the path "%s" is refused', (path) => {
  expect(() => writeCpio([{ type: 'directory', path }])).toThrow(UsageError);
});

test('a path cannot stand in an archive twice', () => {
  const entry = { type: 'directory', path: 'etc' } as const;
  expect(() => writeCpio([entry, entry])).toThrow(/"etc" is not a fresh/);
});
