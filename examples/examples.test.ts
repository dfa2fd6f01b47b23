import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const here = fileURLToPath(new URL('./', import.meta.url));
const examples = readdirSync(here).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));

/** What each example prints, in outline. */
const prints: Readonly<Record<string, RegExp>> = {
  'adder.ts': /^42 5$/,
  'files.ts':
    /^share written by the host\nfirst.txt: 1 name\(s\), 20 bytes\nsecond.txt: 2 name\(s\), 21 bytes\nagain.txt: 2 name\(s\), 21 bytes\nlink: 1 name\(s\), 10 bytes\nfirst has it\nsecond has it\nwritten by the guest\nENOENT$/,
  'network.ts':
    /^hello from the host\nhello from the guest\nhello from a service of the program\n4 bytes back, 0 frames dropped$/,
  'own-device.ts': /^a die of 20 sides: (?:(?:1?[1-9]|10|20) ?){5}$/,
  'vsock.ts': /^FROM THE GUEST, AND BACK\n5 bytes\n0 bytes\n7000 bytes$/,
};

describe('examples', () => {
  it('include the one of the README, to the letter', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const shown = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const program = readFileSync(new URL('adder.ts', import.meta.url), 'utf8');
    expect(program.endsWith(shown) && shown.length > 0).toBe(true);
  });

  it.each(examples)('%s runs, and prints what it should', (name) => {
    const output = execFileSync(process.execPath, ['--import', 'tsx', name], { cwd: here, encoding: 'utf8' });
    expect(output.trim()).toMatch(prints[name] ?? /no expectation for this example/);
  });
});
