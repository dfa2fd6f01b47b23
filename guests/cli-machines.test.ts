/** `virtio run` on the machines that are processes beside it: user-mode Linux and QEMU. */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, guestFiles } from 'virtio-node/guests';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandRun, endAll, onTerminal } from './cli-command.ts';
import { sha256 } from './hash.ts';
import { ask, freePort } from './net-servers.ts';
import { allGone, descendants } from './processes.ts';
import { qemu } from './qemu-machine.ts';

/** The end of the guest's prompt, in its colours. */
const prompt = '\x1b[0m# ';

let folder: string;
let temporary: string;
let cache: string;
const at = (name: string): string => join(folder, name);
const run = (...args: string[]): CommandRun => new CommandRun(['run', ...args], cache, { TMPDIR: temporary });

beforeAll(async () => {
  // What is fetched at the first use is not for the tests to wait for.
  for (const machine of ['uml', 'qemu'] as const) await guestFiles({ machine });
  await qemu('qemu-11');
  folder = await mkdtemp(join(tmpdir(), 'virtio-machines-'));
  temporary = at('tmp');
  cache = at('cache');
  for (const one of [temporary, cache]) await mkdir(one);
  // Saved states are the tests' own.
  for (const name of ['guests', 'tools']) await symlink(join(cacheFolder(), name), join(cache, name));
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
    expect(sha256(stdout)).toBe(sha256(input));
    // On the switch it asks for an address meanwhile, as nobody there gives any.
    expect(errors).toBe(`${kernel}\n${sha256(before)}  -\nudhcpc\nfrom outside\n`);
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
    const terminal = onTerminal(cache, 'run', '--machine', machine);
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

describe('QEMU', () => {
  it('goes on from the saved state on another bus, with other devices, which are whole functions of ours', async () => {
    const disk = at('function.img');
    await writeFile(disk, new Uint8Array(3 * 2 ** 20));
    const trace = at('function.jsonl');
    const { status, stdout, events, errors } = await run(
      ...['--machine', 'qemu', '--memory', '192', '--bus', 'pci-legacy', '--json', '--trace', trace],
      ...['--disk', disk, '--disk', `${disk},ro`.replace('function.img', 'qemu.img'), '--exec'],
      'cat /sys/block/vd?/size /sys/block/vdb/ro; cat /sys/bus/pci/devices/*/device | grep 0x10 | sort | uniq -c | cat',
    ).end();
    expect(errors).toBe('');
    expect(stdout.toString().replace(/ +/g, ' ')).toBe(
      `${3 * 2048}\n${2048 + 8}\n1\n 1 0x1000\n 2 0x1001\n 1 0x1003\n 1 0x1005\n`,
    );
    expect(status).toBe(0);
    expect(events).toMatchObject([{ event: 'started', start: 'warm' }, { event: 'ended' }]);
    const lines = (await readFile(trace, 'utf8')).split('\n');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ transport: 'vfio-user' });
    expect(lines.some((line) => line.includes('"register":"queue_address"'))).toBe(true);
    expect(await readdir(temporary)).toEqual([]);
  });

  it('boots a kernel of its own, with the devices on MMIO', async () => {
    const { bzimage } = await guestFiles({ machine: 'qemu' });
    const { status, stdout, events } = await run(
      ...[
        '--machine',
        'qemu',
        '--bus',
        'mmio',
        '--kernel',
        bzimage,
        '--append',
        'wanted=this',
        '--json',
        '--exec',
      ],
      'ls /sys/bus/virtio/devices | wc -l; ls -1 /dev/vda /dev/hwrng | cat; grep -o wanted=this /proc/cmdline',
    ).end();
    expect(stdout.toString()).toBe('5\n/dev/hwrng\n/dev/vda\nwanted=this\n');
    expect(status).toBe(0);
    expect(events).toMatchObject([{ event: 'started', start: 'cold' }, { event: 'ended' }]);
  });
});

describe('user-mode Linux', () => {
  it('boots an initramfs of its own', async () => {
    const { initrd } = await guestFiles({ machine: 'uml' });
    const own = at('initrd');
    await copyFile(initrd, own);
    const { status, stdout, errors } = await run(
      ...['--machine', 'uml', '--initrd', own, '--append', 'wanted=this', '--json', '--exec'],
      'grep -o "console=hvc0.*wanted=this" /proc/cmdline',
    ).end();
    expect(errors).toBe('');
    // The kernel talks on the terminal as well, for an init that has nothing else.
    expect(stdout.toString()).toContain('console=hvc0 wanted=this');
    expect(status).toBe(0);
  });

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
  [['--machine', 'uml', '--bus', 'mmio'], /--bus mmio: uml has one bus of its own, over vhost-user/],
  [['--machine', 'qemu', '--bus', 'mmio-legacy'], /--bus mmio-legacy is not to be had with --machine qemu/],
  [['--machine', 'qemu', '--kernel', '/nowhere'], /--kernel \/nowhere: there is no such file/],
  [
    ['--machine', 'uml', '--kernel', process.execPath, '--initrd', '/nowhere'],
    /--initrd \/nowhere: there is no/,
  ],
  [['--machine', 'qemu', '--kernel', process.execPath], /is a program for x86-64 \(ELF\); give a bzImage/],
  [
    ['--machine', 'v86', '--kernel', process.execPath],
    /is a program for x86-64 \(ELF\); give a bzImage for i386/,
  ],
  [['--machine', 'uml', '--memory', '1'], /from 64 to 65536/],
])('refuses %j', async (args, message) => {
  const { status, stderr } = await run(...args).end();
  expect(status).toBe(2);
  expect(stderr).toMatch(message);
});
