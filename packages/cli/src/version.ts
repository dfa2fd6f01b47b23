import { readFileSync } from 'node:fs';

/** The version of the specification that everything here follows. */
export const specVersion = '1.4';

/** The version of this package. */
export const packageVersion: string = versionIn(new URL('../package.json', import.meta.url));

/** The version a package.json names; `undefined` without such a file. */
export function versionOf(packageJson: URL): string | undefined {
  try {
    return versionIn(packageJson);
  } catch {
    return undefined;
  }
}

function versionIn(packageJson: URL): string {
  const { version }: { version: string } = JSON.parse(readFileSync(packageJson, 'utf8'));
  return version;
}
