import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { blkDevice, openBlk } from 'virtio/devices/blk';
import type { HostError } from 'virtio/errors';
import { Loopback } from 'virtio/transports/loopback';
import { ensureTool, type Tool } from 'virtio-node/guests';
import { type NbdStorage, openNbd, openStorage } from 'virtio-node/storage';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeCertificate, writeCertificates } from './certificates.ts';

let nbdkit: Tool;
let qemu: Tool;
let folder: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  nbdkit = await ensureTool('nbdkit');
  qemu = await ensureTool('qemu-img');
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-nbd-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
  await rm(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);
const unix = (name = ''): string => `nbd+unix:///${name}?socket=${at('s')}`;

function start(tool: Tool, program: string, args: readonly string[]): ChildProcess {
  const child = spawn(join(tool.folder, program), args, {
    env: { ...process.env, ...tool.environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  children.push(child);
  return child;
}

/** A server takes a moment until it listens. */
const patience = { timeout: 60_000, interval: 50 };
const opened = (uri = unix()): Promise<NbdStorage> => vi.waitFor(() => openNbd(uri), patience);

/** A plugin or filter of nbdkit, which looks for them in the system otherwise. */
function part(kind: 'plugin' | 'filter', name: string): string {
  const installed = join(dirname(nbdkit.folder), 'lib', 'x86_64-linux-gnu', 'nbdkit');
  const file = join(installed, `${kind}s`, `nbdkit-${name}-${kind}.so`);
  return existsSync(file) ? file : name;
}

/** Starts nbdkit on a Unix socket in the folder. */
function serve(filters: readonly string[], plugin: string, ...args: string[]): void {
  const filtered = filters.map((name) => `--filter=${part('filter', name)}`);
  start(nbdkit, 'nbdkit', ['-f', '-U', at('s'), ...filtered, part('plugin', plugin), ...args]);
}

const prose = (length: number, seed = 0): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => ((i >> 6) * 31 + (i & 7) + seed + (i >> 12)) & 0xff));

const size = 4 * 2 ** 20;

describe.each<[string, readonly string[], readonly string[]]>([
  ['alone', [], []],
  ['that answers in any order', ['delay'], ['rdelay=1ms', 'wdelay=2ms']],
  [
    'with blocks of 4 KiB',
    ['blocksize-policy'],
    [
      'blocksize-minimum=4096',
      'blocksize-preferred=4096',
      'blocksize-maximum=65536',
      'blocksize-error-policy=error',
    ],
  ],
  ['that cannot zero', ['nozero'], []],
  ['with FUA for flushes', ['fua'], ['fuamode=force']],
])('nbdkit %s', (_what, filters, args) => {
  it('is a disk, with any requests at a time', async () => {
    await writeFile(at('raw'), prose(size));
    serve(filters, 'file', `file=${at('raw')}`, ...args);
    const storage = await vi.waitFor(() => openStorage(unix()), patience);
    expect(storage).toMatchObject({ size, readOnly: false });
    const disk = await openBlk(new Loopback(blkDevice({ storage })));
    const model = prose(size);
    const step = fc.record({
      what: fc.constantFrom('write', 'write', 'zero', 'unmap'),
      sector: fc.nat(8191),
      count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 900 })),
      value: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 4 }), async (rounds) => {
        for (const round of rounds) {
          const taken = new Set<number>();
          await Promise.all(
            round.map(async ({ what, sector, count, value }) => {
              const sectors = Array.from({ length: Math.min(count, 8192 - sector) }, (_, i) => sector + i);
              if (sectors.some((one) => taken.has(one))) return;
              for (const one of sectors) taken.add(one);
              const bytes = Buffer.alloc(sectors.length * 512, what === 'write' ? value : 0);
              bytes.copy(model, sector * 512);
              if (what === 'write') await disk.write(sector, bytes);
              else await disk.writeZeroes(sector, sectors.length, { unmap: what === 'unmap' });
            }),
          );
          await disk.flush();
          expect(model.equals(await readFile(at('raw')))).toBe(true);
        }
      }),
      { numRuns: 8 },
    );
    expect(model.equals(await disk.read(0, 8192))).toBe(true);
    await disk.discard(4000, 1000);
    await disk.close();
    await storage.close();
  });
});

it('reads an error from nbdkit where it is, and goes on', async () => {
  serve(['error'], 'memory', '4M', 'error=ENOSPC', 'error-pwrite-rate=100%');
  const reported: HostError[] = [];
  const storage = await opened();
  const disk = await openBlk(new Loopback(blkDevice({ storage, onError: (error) => reported.push(error) })));
  await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ status: 'IOERR' });
  expect((await disk.read(0, 8)).every((byte) => byte === 0)).toBe(true);
  expect(reported.map(({ code }) => code)).toEqual(['NO_SPACE']);
  await disk.close();
  await storage.close();
});

it('waits for a server that dies and comes back, and loses nothing of what it was told is there', async () => {
  await writeFile(at('raw'), Buffer.alloc(size));
  // It keeps what is written to itself until it is flushed, and forgets it when it dies.
  const begin = (): void => serve(['cache'], 'file', `file=${at('raw')}`, 'cache=writeback');
  begin();
  await (await opened()).close();
  const storage = await openStorage(`${unix()}&x-reconnect-for=120`);
  const disk = await openBlk(new Loopback(blkDevice({ storage })));
  const model = Buffer.alloc(size);
  for (let round = 0; round < 4; round++) {
    const writes = Array.from({ length: 24 }, (_, i) => 320 * i + 8 * round);
    const written = writes.map(async (sector) => {
      const bytes = prose(4096, sector);
      bytes.copy(model, sector * 512);
      await disk.write(sector, bytes);
    });
    await Promise.all(written.slice(0, 12));
    const child = children.pop();
    const ended = new Promise((resolve) => child?.once('exit', resolve));
    child?.kill('SIGKILL');
    await ended;
    await rm(at('s'), { force: true });
    begin();
    await Promise.all(written);
    expect(model.equals(await disk.read(0, size / 512))).toBe(true);
    await disk.flush();
    expect(model.equals(await readFile(at('raw')))).toBe(true);
  }
  await disk.close();
  await storage.close();
});

it('has I/O errors, and a process that lives, when the server dies', async () => {
  serve([], 'memory', '4M');
  const storage = await opened();
  const disk = await openBlk(new Loopback(blkDevice({ storage })));
  await disk.write(0, new Uint8Array(512).fill(1));
  children[0]?.kill('SIGKILL');
  await vi.waitFor(() => expect(disk.read(0, 1)).rejects.toMatchObject({ status: 'IOERR' }), {
    timeout: 60_000,
  });
  await expect(disk.flush()).rejects.toMatchObject({ status: 'IOERR' });
  await disk.close().catch(() => {});
  await storage.close();
});

it('reaches a qcow2 image, by its name, through qemu-nbd, and over TCP', async () => {
  const env = { ...process.env, ...qemu.environment };
  const created = spawn(qemu.file, ['create', '-q', '-f', 'qcow2', at('disk'), '64M'], { env });
  await new Promise((resolve) => created.once('exit', resolve));
  start(qemu, 'qemu-nbd', ['-f', 'qcow2', '-x', 'the disk', '-t', '-k', at('s'), at('disk')]);
  // A port that is ours for sure, in front of its socket.
  const relay = createServer((socket) => {
    const server = createConnection(at('s'));
    for (const one of [socket, server]) one.on('error', () => {});
    socket.pipe(server).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  // A server that listens at a port has an address with one.
  const { port } = relay.address() as AddressInfo;
  await (await opened(unix('the%20disk'))).close();
  const storage = await openNbd(`nbd://127.0.0.1:${port}/the%20disk`);
  expect(storage).toMatchObject({ size: 64 * 2 ** 20, sparse: true });
  const disk = await openBlk(new Loopback(blkDevice({ storage, cache: 'writethrough' })));
  await disk.write(1000, prose(300_032));
  await disk.writeZeroes(1010, 8, { unmap: true });
  const model = prose(300_032);
  model.fill(0, 10 * 512, 18 * 512);
  expect(model.equals(await disk.read(1000, 586))).toBe(true);
  expect((await disk.read(100_000, 1000)).every((byte) => byte === 0)).toBe(true);
  await disk.close();
  await storage.close();
  await expect(openNbd(`nbd://127.0.0.1:${port}/other`)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('"other"'),
  });
  await new Promise((resolve) => relay.close(resolve));
});

describe('a connection with TLS', () => {
  const secure = (name = ''): string =>
    `nbds+unix:///${name}?socket=${at('s')}&tls-certificates=${at('keys')}`;

  beforeEach(async () => {
    await mkdir(at('keys'));
    await writeCertificates(at('keys'), 'disks.example');
  });

  it.each(['nbdkit', 'qemu-nbd'] as const)('is made with %s, where each shows who it is', async (program) => {
    await writeFile(at('raw'), prose(size));
    const keys = at('keys');
    if (program === 'nbdkit') {
      const tls = ['--tls=require', `--tls-certificates=${keys}`, '--tls-verify-peer'];
      start(nbdkit, program, ['-f', '-U', at('s'), ...tls, part('plugin', 'file'), `file=${at('raw')}`]);
    } else {
      const credentials = `tls-creds-x509,id=tls0,endpoint=server,dir=${keys},verify-peer=yes`;
      const tls = ['--object', credentials, '--tls-creds', 'tls0'];
      start(qemu, program, [...tls, '-f', 'raw', '-t', '-k', at('s'), at('raw')]);
    }
    const uri = `${secure()}&tls-hostname=disks.example&x-reconnect-for=60`;
    const storage = await opened(uri);
    const disk = await openBlk(new Loopback(blkDevice({ storage })));
    const model = prose(size);
    expect(model.equals(await disk.read(0, size / 512))).toBe(true);
    await Promise.all(
      [0, 100, 2000].map(async (sector) => {
        prose(300_032, sector).copy(model, sector * 512);
        await disk.write(sector, prose(300_032, sector));
      }),
    );
    await disk.flush();
    expect(model.equals(await readFile(at('raw')))).toBe(true);
    await disk.close();
    await storage.close();

    const refused = { name: 'HostError', code: 'IO_ERROR' };
    // Another name, nobody's word for it, and somebody else's.
    await expect(openNbd(`${secure()}&tls-hostname=elsewhere.example`)).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('elsewhere.example'),
    });
    await expect(openNbd(unix().replace('nbd', 'nbds'))).rejects.toMatchObject(refused);
    const tls = { ca: makeCertificate('authority').pem, hostname: 'disks.example' };
    await expect(openNbd(unix().replace('nbd', 'nbds'), { tls })).rejects.toMatchObject(refused);
    // We are nobody to the server.
    const ca = await readFile(join(keys, 'ca-cert.pem'));
    await expect(
      openNbd(unix().replace('nbd', 'nbds'), { tls: { ca, hostname: 'disks.example' } }),
    ).rejects.toMatchObject(refused);
    await expect(openNbd(unix())).rejects.toMatchObject({ message: expect.stringContaining('nbds') });
  });

  it('is not made with a server that has none, and nothing is said to it in the clear', async () => {
    serve([], 'memory', '4M');
    await (await opened()).close();
    await expect(openNbd(secure())).rejects.toMatchObject({ message: expect.stringContaining('has no TLS') });
  });
});
