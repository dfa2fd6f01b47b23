import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import type { Finding } from './finding.ts';

const require = createRequire(import.meta.url);

/** Runs the command line of a package we depend on; when it fails, what it said is the finding. */
export function runCommand(root: string, program: string, ...parameters: readonly string[]): Finding[] {
  const script = require.resolve(program);
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [script, ...parameters], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
    maxBuffer: 64 << 20,
  });
  if (error) throw error;
  if (status === 0) return [];
  return [
    {
      file: [program, ...parameters].join(' '),
      message: `exit status ${status}\n${stdout}${stderr}`.trimEnd(),
    },
  ];
}
