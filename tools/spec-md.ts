/** `npm run clauses`: writes all that is made from the clauses, the tests and the declared statuses. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateClauses } from './clauses/generate.ts';
import { readSources } from './source/source.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { files, findings } = await generateClauses(root, readSources(root));
for (const [path, text] of files) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  console.log(`wrote ${path}`);
}
if (findings.length > 0) console.log(`${findings.length} findings on the clauses: npm run check lists them`);
