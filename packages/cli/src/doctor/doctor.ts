import { type ExitStatus, exitStatus } from '../exit-status.ts';
import { bold, formatJson, type Output } from '../output.ts';
import { packageVersion, specVersion } from '../version.ts';
import { checks } from './checks.ts';
import type { Check } from './findings.ts';

/** `virtio doctor`: what this machine can do. Status 3 when `virtio run` could not work here. */
export async function doctorCommand(
  output: Output,
  options: { readonly json: boolean },
): Promise<ExitStatus> {
  const found: Check[] = [];
  for (const check of checks) found.push(await check());
  const lacking = found.filter(({ state }) => state === 'lacking');
  const canRun = lacking.length === 0;
  if (options.json) {
    output.out(formatJson({ virtio: specVersion, version: packageVersion, canRun, checks: found }));
  } else {
    for (const check of found) output.out(formatCheck(check, output.colour));
    const verdict = canRun
      ? '`virtio run` can work here'
      : `\`virtio run\` cannot work here: ${lacking.map(({ name }) => name).join(', ')}`;
    output.out(`\n${bold(verdict, output.colour)}\n`);
  }
  return canRun ? exitStatus.ok : exitStatus.environment;
}

const marks = { ok: 'ok', optional: '-', lacking: 'LACKS' } as const;

function formatCheck({ name, state, found, advice }: Check, colour: boolean): string {
  const mark = marks[state].padEnd(5);
  const line = `${state === 'lacking' ? bold(mark, colour) : mark}  ${name.padEnd(8)}  ${found}\n`;
  return advice === undefined ? line : `${line}${' '.repeat(17)}${advice}\n`;
}
