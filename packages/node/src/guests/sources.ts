/** One source of packages, as apt's configuration names it. */
export interface SourceEntry {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** A keyring's path, a fingerprint, or a key itself; `undefined` leaves it to apt's trusted keys. */
  readonly signedBy: string | undefined;
  /** Whether the system's administrator trusts it unsigned, as a copy on the machine itself may be. */
  readonly trusted: boolean;
}

/** Reads a classic `sources.list`: one `deb [options] uri suite component…` a line. */
export function parseSourcesList(content: string): SourceEntry[] {
  return content.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)/.exec(line);
    const [, options = '', uri, suite, components = ''] = match ?? [];
    if (uri === undefined || suite === undefined) return [];
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1];
    const trusted = /(?:^|\s)trusted=yes(?:\s|$)/i.test(options);
    return [{ uris: [uri], suites: [suite], components: words(components), signedBy, trusted }];
  });
}

/** Reads a deb822 `.sources` file: stanzas of `Field: value` between empty lines. */
export function parseDeb822Sources(content: string): SourceEntry[] {
  const lines = content.split('\n').filter((line) => !line.startsWith('#'));
  return lines
    .join('\n')
    .split(/\n\s*\n/)
    .map(fieldsOf)
    .filter((fields) => words(fields.get('types')).includes('deb') && fields.get('enabled') !== 'no')
    .map((fields) => ({
      uris: words(fields.get('uris')),
      suites: words(fields.get('suites')),
      components: words(fields.get('components')),
      signedBy: fields.get('signed-by'),
      trusted: fields.get('trusted') === 'yes',
    }));
}

/** The fields of a stanza by their names in lower case; lines that begin with a space belong to the one above. */
export function fieldsOf(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let current = '';
  for (const line of stanza.split('\n')) {
    const match = /^([^\s:]+):\s*(.*)$/.exec(line);
    if (match?.[1] !== undefined) {
      current = match[1].toLowerCase();
      fields.set(current, (match[2] ?? '').trimEnd());
    } else if (current && /^\s/.test(line)) {
      fields.set(current, `${fields.get(current)}\n${line.trimEnd()}`);
    }
  }
  return fields;
}

/**
 * Sources for another suite of the same archive. Kept are the entries for a whole release with a `main`
 * component; those for updates, security and the like, and other people's repositories, are left out.
 *
 * @param entries the system's own
 * @param codenames what the system's release is called there, such as `bookworm` and `stable`
 * @param suite wanted; `trixie-backports` brings `trixie` too, which it needs
 */
export function entriesForSuite(
  entries: readonly SourceEntry[],
  codenames: readonly string[],
  suite: string,
): SourceEntry[] {
  const seen = new Set<string>();
  const suites = [...new Set([suite.split('-')[0] ?? suite, suite])];
  return entries.flatMap(({ uris, suites: present, components, signedBy, trusted }) => {
    if (!present.some((name) => codenames.includes(name)) || !components.includes('main')) return [];
    const fresh = uris.filter((uri) => !seen.has(uri.replace(/\/*$/, '')));
    for (const uri of fresh) seen.add(uri.replace(/\/*$/, ''));
    return fresh.length === 0 ? [] : [{ uris: fresh, suites, components: ['main'], signedBy, trusted }];
  });
}

/** Writes entries as a deb822 `.sources` file. */
export function formatSources(entries: readonly SourceEntry[]): string {
  return entries
    .map(({ uris, suites, components, signedBy, trusted }) =>
      [
        'Types: deb',
        `URIs: ${uris.join(' ')}`,
        `Suites: ${suites.join(' ')}`,
        `Components: ${components.join(' ')}`,
        ...(signedBy === undefined ? [] : [`Signed-By:${signedBy.startsWith('\n') ? '' : ' '}${signedBy}`]),
        ...(trusted ? ['Trusted: yes'] : []),
        '',
      ].join('\n'),
    )
    .join('\n');
}

function words(value = ''): string[] {
  return value.split(/\s+/).filter(Boolean);
}
