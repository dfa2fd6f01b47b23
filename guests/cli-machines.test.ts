/** `virtio run` on the machines that are processes beside it: user-mode Linux and QEMU. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, guestFiles } from 'virtio-node/guests';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandRun, endAll, onTerminal } from './cli-command.ts';
import { ask, freePort } from './net-servers.ts';
import { allGone, descendants } from './processes.ts';
import { qemu } from './qemu-machine.ts';

/** The end of the guest's prompt, in its colours. */
const prompt = '\x1b[0m# ';

let folder: string;
let temporary: string;
const at = (name: string): string => join(folder, name);
const run = (...args: string[]): CommandRun =>
  new CommandRun(['run', ...args], cacheFolder(), { TMPDIR: temporary });

beforeAll(async () => {
  // What is fetched at the first use is not for the tests to wait for.
  for (const machine of ['uml', 'qemu'] as const) await guestFiles({ machine });
  await qemu('qemu-11');
  folder = await mkdtemp(join(tmpdir(), 'virtio-machines-'));
  temporary = at('tmp');
  await mkdir(temporary);
});

afterAll(async () => {
  endAll();
  await rm(folder, { recursive: true });
});

describe.each([
  ['uml', '7.2', 1_000_000],
  ['qemu', '6.1', 200_000],
])('virtio run --machine %s', (machine, kernel, length) => {
  it('runs a command on a disk and at a port, traces what crosses, and leaves nothing behind', async () => {
    const disk = at(`${machine}.img`);
    const trace = at(`${machine}.jsonl`);
    const before = randomBytes(4096);
    await writeFile(disk, Buffer.concat([before, new Uint8Array(2 ** 20)]));
    const input = randomBytes(length);
    const port = await freePort();
    const command = run(
      ...['--machine', machine, '--memory', '192', '--json', '--disk', disk, '--trace', trace],
      ...['--net', `user,forward=tcp:${port}:80`, '--net', `stream:${at(`${machine}.net`)},listen`, '--exec'],
      `uname -r | cut -d. -f1-2 >&2; head -c 4096 /dev/vda | sha256sum >&2; cat; printf new | dd of=/dev/vda 2>/dev/null
       ps | grep -o '[u]dhcpc -i eth[01] -s /etc/dhcp -S$' | cut -d' ' -f1 >&2
       echo from the guest | nc -l -p 80 >&2; exit 37`,
    );
    const ended = command.end(input);
    expect(await ask(port, Buffer.from('from outside\n'))).toBe('from the guest\n');
    const { status, stdout, events, errors } = await ended;
    expect(status).toBe(37);
    expect(hash(stdout)).toBe(hash(input));
    // On the switch it asks for an address meanwhile, as nobody there gives any.
    expect(errors).toBe(`${kernel}\n${hash(before)}  -\nudhcpc\nfrom outside\n`);
    expect(events).toMatchObject([
      { event: 'started', start: 'cold' },
      { event: 'ended', kind: 'exit', status: 37 },
    ]);
    expect((await readFile(disk)).subarray(0, 3).toString()).toBe('new');
    const [header, ...lines] = (await readFile(trace, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(header).toMatchObject({ transport: 'vhost-user' });
    for (const event of ['features', 'notify', 'chain', 'complete', 'interrupt']) {
      expect(lines).toContainEqual(expect.objectContaining({ device: 'blk0', event }));
    }
    expect(await readdir(temporary)).toEqual([]);
  });

  it('gives the terminal to a shell, and leaves it as it was', async () => {
    const terminal = onTerminal(cacheFolder(), 'run', '--machine', machine);
    await terminal.says(prompt);
    terminal.type('stty size; tty\r');
    await terminal.says('30 100\r\n/dev/hvc0');
    await terminal.resize(111, 41);
    terminal.type('until [ "$(stty size)" = "41 111" ]; do sleep 0.1; done; echo wi""de\r');
    await terminal.says('wide');
    terminal.type('\x01x');
    const { status, before, after } = await terminal.end();
    expect(status).toBe(0);
    expect(after).toBe(before);
  });
});

describe('user-mode Linux', () => {
  it('is ended with the command that runs it, however that ends', async () => {
    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGKILL', null],
    ] as const) {
      const command = run('--machine', 'uml', '--exec', 'echo started; sleep 1000');
      await command.says('started');
      const family = await descendants(command.pid);
      expect(family.length).toBeGreaterThan(1);
      command.kill(signal);
      expect((await command.end()).status).toBe(status);
      await allGone(family);
      expect(await readdir(temporary)).toEqual([]);
    }
  });

  it('is told of when it ends before the command', async () => {
    const off = await run('--machine', 'uml', '--exec', 'poweroff -f').end();
    expect(off.status).toBe(1);
    expect(off.stderr).toMatch(/switched off before the command ended/);
    const command = run('--machine', 'uml', '--exec', 'echo started; sleep 1000');
    await command.says('started');
    const [kernel = 0] = await descendants(command.pid);
    process.kill(kernel, 'SIGKILL');
    const died = await command.end();
    expect(died.status).toBe(1);
    expect(died.stderr).toMatch(/user-mode Linux ended \(SIGKILL\)/);
  });
});

it.each([
  [['--machine', 'vax'], /--machine vax is no machine; give one of v86, uml, qemu/],
  [['--machine', 'uml', '--bus', 'mmio'], /--bus does not go with --machine uml/],
  [['--machine', 'qemu', '--kernel', '/nowhere'], /--kernel does not go with --machine qemu/],
  [['--machine', 'uml', '--memory', '1'], /from 64 to 65536/],
])('refuses %j', async (args, message) => {
  const { status, stderr } = await run(...args).end();
  expect(status).toBe(2);
  expect(stderr).toMatch(message);
});

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
