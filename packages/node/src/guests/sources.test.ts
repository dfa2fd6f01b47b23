import { expect, test } from 'vitest';
import { entriesForSuite, formatSources, parseDeb822Sources, parseSourcesList } from './sources.ts';

const deb822 = `Types: deb deb-src
# an address that was there before
URIs: http://debian.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://debian.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/
Suites: bookworm
Components: main
`;

const classic = `# deb http://commented.example/ bookworm main
deb [arch=amd64 signed-by=/etc/key.gpg] http://debian.example/debian/ bookworm main non-free # mine
deb-src http://debian.example/debian bookworm main
deb http://other.example/apt bookworm stable
deb [trusted=yes] http://flat.example/ ./
`;

test('entries of a deb822 file are read, disabled and source-only ones left out', () => {
  expect(parseDeb822Sources(deb822).map(({ uris, suites }) => [...uris, ...suites])).toEqual([
    ['http://debian.example/debian', 'bookworm', 'bookworm-updates'],
    ['http://debian.example/debian-security', 'bookworm-security'],
  ]);
});

test('a key written into a deb822 stanza stays whole', () => {
  const key = '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----';
  const entries = parseDeb822Sources(
    `Types: deb\nURIs: http://a.example/\nSuites: x\nComponents: main\nSigned-By:${key}\n`,
  );
  expect(entries[0]?.signedBy).toBe(key);
  expect(formatSources(entries)).toContain(`Signed-By:${key}\n`);
});

test('entries of a classic file are read with their options', () => {
  expect(parseSourcesList(classic)).toEqual([
    {
      uris: ['http://debian.example/debian/'],
      suites: ['bookworm'],
      components: ['main', 'non-free'],
      signedBy: '/etc/key.gpg',
      trusted: false,
    },
    {
      uris: ['http://other.example/apt'],
      suites: ['bookworm'],
      components: ['stable'],
      signedBy: undefined,
      trusted: false,
    },
    { uris: ['http://flat.example/'], suites: ['./'], components: [], signedBy: undefined, trusted: true },
  ]);
});

test('another suite is asked of the main archive alone, once', () => {
  const entries = [...parseSourcesList(classic), ...parseDeb822Sources(deb822)];
  expect(entriesForSuite(entries, ['bookworm', 'stable'], 'trixie-backports')).toEqual([
    {
      uris: ['http://debian.example/debian/'],
      suites: ['trixie', 'trixie-backports'],
      components: ['main'],
      signedBy: '/etc/key.gpg',
      trusted: false,
    },
  ]);
});

test('what is written reads back', () => {
  const entries = parseDeb822Sources(deb822);
  expect(parseDeb822Sources(formatSources(entries))).toEqual(entries);
});

test('a machine that is no Debian of ours gives nothing', () => {
  expect(entriesForSuite(parseDeb822Sources(deb822), ['jammy'], 'bookworm')).toEqual([]);
});
