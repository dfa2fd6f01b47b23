/** Runs every benchmark, one after the other, each in a process of its own: `npm run bench [-- --json]`. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = new URL('./', import.meta.url);
let failed = false;
for (const entry of readdirSync(here, { withFileTypes: true })) {
  const script = fileURLToPath(new URL(`${entry.name}/${entry.name}.ts`, here));
  if (!entry.isDirectory() || !existsSync(script)) continue;
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', script, ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  failed ||= status !== 0;
}
process.exitCode = failed ? 1 : 0;
