/** The command as a user has it: `node packages/cli/bin/virtio.js`, real guests behind it, real files and terminals. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, ensureTool, guestFiles } from 'virtio-node/guests';
import { createQcow2 } from 'virtio-node/storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandRun, endAll, onTerminal } from './cli-command.ts';
import { checkFileSystem, fileInImage } from './disk-image.ts';
import { sha256 } from './hash.ts';
import { runTool } from './run-tool.ts';

const mebibyte = 2 ** 20;
/** The end of the guest's prompt, in its colours. */
const prompt = '\x1b[0m# ';

let folder: string;
let cache: string;
const at = (name: string): string => join(folder, name);
const virtio = (...args: string[]): CommandRun => new CommandRun(args, cache);

// The guest's files come from the user's own cache; saved states go where these tests can damage them.
beforeAll(async () => {
  await guestFiles();
  folder = await mkdtemp(join(tmpdir(), 'virtio-cli-'));
  cache = at('cache');
  await mkdir(cache);
  await symlink(join(cacheFolder(), 'guests'), join(cache, 'guests'));
});

afterAll(async () => {
  endAll();
  await rm(folder, { recursive: true });
});

/** The files of all saved states, each whole. */
async function savedStates(): Promise<string[]> {
  return (await readdir(join(cache, 'states'))).map((name) => join(cache, 'states', name));
}

describe('virtio run --exec', () => {
  it('boots, hands a megabyte through unchanged, and ends with the status of the command', async () => {
    const bytes = randomBytes(mebibyte);
    const { status, stdout, events, errors } = await virtio(
      'run',
      '--json',
      '--exec',
      'cat; echo oops >&2; exit 37',
    ).end(bytes);
    expect(sha256(stdout)).toBe(sha256(bytes));
    expect(status).toBe(37);
    expect(errors).toBe('oops\n');
    expect(events).toMatchObject([
      { event: 'started', start: 'cold' },
      { event: 'ended', kind: 'exit', status: 37 },
    ]);
  });

  it('goes on from the saved state, and is quiet about it', async () => {
    const { status, stdout, stderr } = await virtio(
      'run',
      '--exec',
      'cat /proc/uptime | wc -l; ls -1 /dev/vda /dev/hwrng',
    ).end();
    expect({ status, stdout: stdout.toString(), stderr }).toEqual({
      status: 0,
      stdout: '1\n/dev/hwrng\n/dev/vda\n',
      stderr: '',
    });
    const { events } = await virtio('run', '--json', '--exec', 'true').end();
    expect(events).toMatchObject([
      { event: 'started', start: 'warm' },
      { event: 'ended', status: 0 },
    ]);
  });

  it('uses a disk in place, never from the memory of another start', async () => {
    const disk = at('disk.img');
    const command =
      'dd if=/dev/vda bs=4096 count=1 2>/dev/null | sha256sum; cat /sys/block/vda/size; head -c 4096 /dev/urandom | tee /dev/vda | sha256sum; sync';
    // The first makes a state for machines with a disk in a file; the second finds a disk of another size in it.
    for (const [size, start] of [
      [8 * mebibyte, 'cold'],
      [12 * mebibyte, 'warm'],
    ] as const) {
      await writeFile(disk, randomBytes(size));
      const before = sha256((await readFile(disk)).subarray(0, 4096));
      const { status, stdout, events } = await virtio(
        'run',
        '--json',
        '--disk',
        disk,
        '--exec',
        command,
      ).end();
      const [read, sectors, written] = stdout.toString().split('\n');
      expect(status).toBe(0);
      expect(events).toMatchObject([{ start }, {}]);
      expect(read).toBe(`${before}  -`);
      expect(sectors).toBe(`${size / 512}`);
      expect(written).toBe(`${sha256((await readFile(disk)).subarray(0, 4096))}  -`);
    }
  });

  it('has a file system made in a qcow2 image, on what lies beneath, that QEMU and e2fsck find sound', async () => {
    const tool = await ensureTool('qemu-img');
    await writeFile(at('base.img'), randomBytes(16 * mebibyte));
    await createQcow2(at('disk.qcow2'), { backing: { path: 'base.img', format: 'raw' } });
    const beneath = sha256(await readFile(at('base.img')));
    const command =
      'mke2fs -q /dev/vda && mount /dev/vda /mnt && echo hello > /mnt/word && umount /mnt && blkdiscard -o 12M -l 1M /dev/vda';
    const { status } = await virtio('run', '--disk', at('disk.qcow2'), '--exec', command).end();
    expect(status).toBe(0);
    expect(sha256(await readFile(at('base.img')))).toBe(beneath);
    expect(await runTool(tool, ['check', at('disk.qcow2')])).toContain('No errors were found');
    await runTool(tool, ['convert', '-O', 'raw', at('disk.qcow2'), at('flat.img')]);
    expect(await checkFileSystem(at('flat.img'))).toBe(0);
    expect((await fileInImage(at('flat.img'), '/word')).toString()).toBe('hello\n');
  });

  it('lets one writer at a disk, and lets go of it when interrupted', async () => {
    const disk = at('shared.img');
    await writeFile(disk, new Uint8Array(mebibyte));
    const first = virtio('run', '--disk', disk, '--exec', 'echo started; sleep 1000');
    await first.says('started');
    const second = await virtio('run', '--disk', disk, '--exec', 'true').end();
    expect(second.status).toBe(2);
    expect(second.stderr).toMatch(/^virtio: --disk .*shared\.img is in use[^\n]*\n$/);
    first.kill('SIGINT');
    expect((await first.end()).status).toBe(130);
    expect((await virtio('run', '--disk', disk, '--exec', 'true').end()).status).toBe(0);
  });

  it('runs a shell over its input where there is no terminal', async () => {
    const { status, stdout, stderr } = await virtio('run').end('echo $((6 * 7))\nexit 5\n');
    expect({ status, stdout: stdout.toString(), stderr }).toEqual({ status: 5, stdout: '42\n', stderr: '' });
  });

  it('ends when nobody reads its output', async () => {
    const run = virtio('run', '--exec', 'yes');
    await run.says('y');
    run.stopReading();
    expect((await run.end()).status).toBe(141);
  });

  it('reports a guest that dies, and one that is switched off', async () => {
    const panic = await virtio(
      'run',
      '--exec',
      'echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger',
    ).end();
    expect(panic).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^virtio: the guest's kernel panicked: .*\n$/),
    });
    const off = await virtio('run', '--exec', 'poweroff -f').end();
    expect(off).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/switched off before the command ended/),
    });
  });

  it('writes a trace of every event, named, under a header', async () => {
    const trace = at('trace.jsonl');
    const run = await virtio(
      'run',
      '--trace',
      trace,
      '--exec',
      'dd if=/dev/vda of=/dev/null bs=512 count=1 2>/dev/null',
    ).end();
    expect(run.status).toBe(0);
    const text = await readFile(trace, 'utf8');
    expect(text.endsWith('\n')).toBe(true);
    const [header, ...events] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(header).toMatchObject({
      schema: 1,
      virtio: '1.4',
      transport: 'pci',
      devices: [
        { name: 'console' },
        { name: 'entropy' },
        { name: 'blk0', type: 'blk', id: 2 },
        { name: 'fs0', type: 'fs' },
        { name: 'net0', type: 'net' },
      ],
    });
    const ofDisk = events.filter(({ device }) => device === 'blk0');
    for (const event of [
      { event: 'register', access: 'write', block: 'common', register: 'device_status' },
      { event: 'status', names: ['ACKNOWLEDGE', 'DRIVER', 'DRIVER_OK', 'FEATURES_OK'] },
      { event: 'features', ok: true, accepted: expect.arrayContaining(['VERSION_1', 'FLUSH']) },
      { event: 'notify', queue: 'requestq1' },
      { event: 'chain', queue: 'requestq1', readable: 16 },
      { event: 'complete', queue: 'requestq1' },
      { event: 'interrupt', queue: 'requestq1' },
    ]) {
      expect(ofDisk).toContainEqual(expect.objectContaining(event));
    }
    const times = events.map(({ t }) => t);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  it.each([
    ['mmio', 'platform/LNRO0005:02'],
    ['mmio-legacy', 'platform/LNRO0005:02'],
    ['pci-transitional', 'pci0000:00/0000:00:13.0'],
    ['pci-legacy', 'pci0000:00/0000:00:13.0'],
  ])('puts the devices on another bus: %s, with a saved state of its own', async (bus, place) => {
    for (const start of ['cold', 'warm']) {
      const { status, stdout, events } = await virtio(
        'run',
        ...['--json', '--bus', bus, '--exec'],
        'readlink /sys/bus/virtio/devices/virtio2; cut -c33 /sys/bus/virtio/devices/virtio2/features',
      ).end();
      expect(events).toMatchObject([{ start }, { status: 0 }]);
      const modern = bus.endsWith('-legacy') ? 0 : 1;
      expect(stdout.toString()).toBe(`../../../devices/${place}/virtio2\n${modern}\n`);
      expect(status).toBe(0);
    }
  });

  it('drops a damaged state whole, boots, and saves a good one', async () => {
    for (const path of await savedStates()) {
      const bytes = await readFile(path);
      bytes[bytes.length >> 1] = ~(bytes[bytes.length >> 1] ?? 0);
      await writeFile(path, bytes);
    }
    const { status, events } = await virtio('run', '--json', '--exec', 'true').end();
    expect(status).toBe(0);
    expect(events).toMatchObject([{ event: 'started', start: 'cold' }, {}]);
    expect((await virtio('run', '--json', '--exec', 'true').end()).events).toMatchObject([
      { start: 'warm' },
      {},
    ]);
  });
});

describe('virtio run at a terminal', () => {
  it('gives the guest the window and its changes, and leaves the terminal as it was', async () => {
    const terminal = onTerminal(cache, 'run');
    await terminal.says(prompt);
    terminal.type('stty size; tty\r');
    await terminal.says('30 100\r\n/dev/hvc0');
    await terminal.resize(111, 41);
    terminal.type('sleep 1; stty size\r');
    await terminal.says('41 111');
    // What an editor would leave behind: another screen, no cursor.
    terminal.type('printf "\\033[?1049h\\033[?25l%s" mess\r');
    await terminal.says('\x1b[?25lmess');
    terminal.type('\x01h');
    await terminal.says('Ctrl-A Ctrl-A');
    terminal.type('\x01x');
    const { status, before, after, output } = await terminal.end();
    expect(status).toBe(0);
    expect(after).toBe(before);
    expect(output.slice(output.indexOf('mess'))).toContain('\x1b[?1049l\x1b[?25h');
  });

  it('leaves the terminal as it was when it is told to end', async () => {
    const terminal = onTerminal(cache, 'run');
    await terminal.says(prompt);
    terminal.signal('SIGTERM');
    const { status, before, after } = await terminal.end();
    expect(status).toBe(143);
    expect(after).toBe(before);
  });
});

describe('bad input', () => {
  it.each<[string, () => string[], number, RegExp]>([
    ['an unknown option', () => ['run', '--dsik', 'x'], 2, /unknown option '--dsik'/],
    ['an unknown command', () => ['rum'], 2, /unknown command 'rum'/],
    ['no command', () => [], 2, /no command given/],
    ['a missing file', () => ['run', '--disk', at('nothing')], 2, /no such file/],
    ['a folder for a disk', () => ['run', '--disk', folder], 2, /no plain file/],
    ['half a sector', () => ['run', '--disk', at('odd.img')], 2, /whole sectors of 512; truncate -s 1024/],
    ['one disk twice', () => ['run', '--disk', at('even.img'), '--disk', at('even.img')], 2, /same file/],
    ['an unknown bus', () => ['run', '--bus', 'isa'], 2, /--bus isa is no bus/],
    ['too much memory', () => ['run', '--memory', '9999'], 2, /from \d+ to \d+/],
    ['what is no kernel', () => ['run', '--kernel', at('even.img')], 2, /is no kernel that is known here/],
    ['a trace nowhere', () => ['run', '--trace', at('no/trace')], 2, /--trace/],
  ])('answers %s with one line and its status, and writes nothing', async (_, args, status, message) => {
    await writeFile(at('odd.img'), new Uint8Array(513));
    await writeFile(at('even.img'), new Uint8Array(512));
    const before = await listing(folder);
    const answer = await virtio(...args()).end();
    expect(answer.status).toBe(status);
    expect(answer.stdout).toHaveLength(0);
    expect(answer.stderr).toMatch(/^virtio: [^\n]+\n$/);
    expect(answer.stderr).toMatch(message);
    expect(await listing(folder)).toEqual(before);
  });
});

/** Every file below a folder with its size and time of change. */
async function listing(path: string): Promise<string[]> {
  const names = await readdir(path, { recursive: true });
  return Promise.all(
    names.sort().map(async (name) => {
      const { size, mtimeMs } = await stat(join(path, name));
      return `${name} ${size} ${mtimeMs}`;
    }),
  );
}

// Behind the others, since it leaves a state of its own.
describe('virtio run --share', () => {
  it('gives the guest a folder, also from a saved state', async () => {
    const shared = at('shared');
    await mkdir(shared);
    await writeFile(join(shared, 'in'), 'from the host');
    const args = ['--share', `${shared}:w`, '--exec', 'cat /mnt/w/in; cat >/mnt/w/out; ls /mnt'];
    for (const input of ['first', 'second']) {
      const { status, stdout } = await virtio('run', ...args).end(Buffer.from(input));
      expect([status, stdout.toString()]).toEqual([0, 'from the hostw\n']);
      expect(await readFile(join(shared, 'out'), 'utf8')).toBe(input);
    }
  });

  it('gives it the current folder for reading unless told', async () => {
    const ahead = 'grep -c "^1024$" /sys/class/bdi/*:[0-9]*/read_ahead_kb | grep -c ":1$"';
    const command = `head -c 2 /mnt/host/package.json; ${ahead}; touch /mnt/host/new`;
    const { status, stdout, stderr } = await virtio('run', '--exec', command).end();
    expect([status, stdout.toString(), stderr]).toEqual([
      1,
      '{\n1\n',
      expect.stringContaining('Read-only file system'),
    ]);
  });
});

describe('virtio run --vsock', () => {
  it.each(['cold', 'warm'])('has the sockets of the guest at a path, after a %s start', async (start) => {
    const path = at('vsock');
    const said = virtio('run', '--json', '--vsock', path, '--exec', 'ls /dev/vsock; read -r _; echo over');
    await said.says('/dev/vsock');
    // The guest's kernel says that nobody listens there.
    const socket = createConnection(path);
    socket.on('error', () => {});
    socket.write('CONNECT 22\n');
    await once(socket, 'close');
    const { status, stdout, events } = await said.end(Buffer.from('on\n'));
    expect([status, stdout.toString()]).toEqual([0, '/dev/vsock\nover\n']);
    expect(events).toMatchObject([{ event: 'started', start }, { event: 'ended' }]);
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
