import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { GuardedChild } from './guarded-child.ts';

const shell = (script: string, sockets = 0): Promise<GuardedChild> =>
  GuardedChild.start('/bin/sh', ['-c', script], {
    name: 'the shell',
    environment: { WORD: 'hello' },
    output: true,
    sockets,
  });

test('it is given its environment, its sockets, and tells how it ended', async () => {
  const child = await shell('echo $WORD; echo oops >&2; cat <&3 >&4; exit 3', 2);
  let said = '';
  child.output.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  child.socket(0).end('through');
  const [echo] = await once(child.socket(1), 'data');
  expect(echo.toString()).toBe('through');
  expect(await child.ended).toMatchObject({
    code: 'DEVICE_GONE',
    message: 'the shell ended (3): oops',
  });
  expect(said).toBe('hello\n');
  expect(child.hasEnded).toBe(true);
});

test('it is killed, and says so', async () => {
  const child = await shell('exec sleep 1000');
  child.complain('too late\n');
  expect((await child.kill()).message).toBe('the shell ended (SIGKILL): too late');
  await child.kill();
});

test('a program that is not there is named', async () => {
  const child = await GuardedChild.start('/nowhere/at/all', [], { name: 'nobody' });
  expect((await child.ended).message).toMatch(/^nobody ended \(127\): .*\/nowhere\/at\/all/);
});

test('it does not outlive a parent that is killed', async () => {
  const fixture = fileURLToPath(new URL('guarded-child.fixture.ts', import.meta.url));
  const parent = spawn(process.execPath, ['--import', 'tsx', '--conditions=source', fixture], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(parent.stdout, 'data');
  const child = Number(line.toString());
  expect(await isAlive(child)).toBe(true);
  parent.kill('SIGKILL');
  while (await isAlive(child)) await setTimeout(20);
});

/** A process that has ended may stand in the table until its new parent looks after it. */
async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return status !== '' && !/^State:\s+Z/m.test(status);
}
