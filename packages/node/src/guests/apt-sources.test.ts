import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { backports } from './apt-sources.ts';

let etc: string;
beforeEach(async () => {
  etc = await mkdtemp(join(tmpdir(), 'virtio-etc-'));
  await mkdir(join(etc, 'apt', 'sources.list.d'), { recursive: true });
});
afterEach(() => rm(etc, { recursive: true }));

async function system(release: string, suites: string): Promise<void> {
  await writeFile(join(etc, 'os-release'), release);
  await writeFile(
    join(etc, 'apt', 'sources.list.d', 'debian.sources'),
    `Types: deb\nURIs: http://debian.example/debian\nSuites: ${suites}\nComponents: main contrib\n`,
  );
}

test('an old release gets its backports beside its own sources', async () => {
  await system('ID=debian\nVERSION_CODENAME=bookworm\n', 'bookworm bookworm-updates');
  expect(await backports(etc)).toEqual({
    suite: 'bookworm-backports',
    added: [
      {
        uris: ['http://debian.example/debian'],
        suites: ['bookworm-backports'],
        components: ['main'],
        signedBy: undefined,
        trusted: false,
      },
    ],
  });
});

test('backports that the system has are not added twice', async () => {
  await system('ID=debian\nVERSION_CODENAME=bookworm\n', 'bookworm bookworm-backports');
  expect(await backports(etc)).toEqual({ suite: 'bookworm-backports', added: [] });
});

test('a younger release and another system have none', async () => {
  await system('ID=debian\nVERSION_CODENAME=trixie\n', 'trixie');
  expect(await backports(etc)).toBeUndefined();
  await system('ID=ubuntu\nVERSION_CODENAME=noble\n', 'noble');
  expect(await backports(etc)).toBeUndefined();
});
