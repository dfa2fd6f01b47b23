import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { SharedMemory } from 'virtio/channel';
import { openBlk } from 'virtio/devices/blk';
import { openVsock } from 'virtio/devices/vsock';
import { openPci } from 'virtio/transports/pci';
import { VfioPciFunction } from 'virtio/vfio-user';
import { frontEndMessages, MessageStream, u64, VhostUserHeader } from 'virtio/vhost-user';
import { connectUnix, NodeDescriptors } from 'virtio-node/host';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { descriptorsCommand } from '../descriptors.ts';
import { probeCommand } from '../probe/probe.ts';
import { runProgram } from '../program.ts';
import { serveCommand } from './serve.ts';

const folder = mkdtempSync(join(tmpdir(), 'virtio-serve-'));
afterAll(() => rmSync(folder, { recursive: true }));

const none = async (): Promise<number> => 0;
/** The other commands, which nobody gives here. */
const others = {
  run: none,
  list: none,
  clauses: none,
  doctor: none,
  descriptors: none,
  probe: none,
  bench: none,
};

/** Runs `virtio serve` in this process. */
function serve(...args: string[]): {
  readonly status: Promise<number>;
  readonly out: string[];
  readonly err: string[];
  end(): void;
} {
  const out: string[] = [];
  const err: string[] = [];
  const output = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    colour: false,
  };
  let stop: () => void = () => {};
  const stopping = (end: () => void): (() => void) => {
    stop = end;
    return () => {};
  };
  const status = runProgram(
    ['serve', ...args],
    { ...others, serve: (type, options) => serveCommand(type, options, output, stopping) },
    output.out,
  );
  return { status, out, err, end: () => void stop() };
}

/** A front end that asks for features, and whether it was answered. */
async function features(path: string): Promise<{ readonly bits: bigint; close(): void }> {
  let bits: bigint | undefined;
  const stream = new MessageStream(connectUnix(path), frontEndMessages, 'replies', {
    received(message) {
      bits = message.read(u64).u64;
    },
    closed() {},
  });
  stream.request('GET_FEATURES', {});
  await vi.waitFor(() => expect(bits).toBeDefined(), 20_000);
  return { bits: bits ?? 0n, close: () => stream.close() };
}

describe('virtio serve', () => {
  it('shares a folder, which a probe tells the tag of', async () => {
    const path = join(folder, 'fs.sock');
    const args = ['--socket-path', path, '--shared-dir', folder, '--tag', 'some', '--json'];
    const { status, err, end } = serve('fs', ...args);
    await vi.waitFor(() => expect(err.join('')).toContain('"event":"listening"'), 20_000);
    const said: string[] = [];
    const output = { out: (text: string) => void said.push(text), err() {}, colour: false };
    expect(await probeCommand(output, path, { type: 'fs', json: true })).toBe(0);
    expect(JSON.parse(said.join(''))).toMatchObject({
      type: 'fs',
      queues: 2,
      config: {
        fields: [
          { name: 'tag', value: 'some' },
          { name: 'num_request_queues', value: 1 },
        ],
      },
    });
    end();
    expect(await status).toBe(0);
    const nowhere = serve('fs', '--socket-path', path, '--shared-dir', join(folder, 'nowhere'));
    await expect(nowhere.status).rejects.toThrow(/--shared-dir: the folder .*nowhere cannot be shared/);
  });

  it('lends a PCI function by vfio-user, to one machine after the other', async () => {
    const path = join(folder, 'pci.sock');
    const args = ['--socket-path', path, '--scratch', '1', '--vfio-user', '--json'];
    const { status, err, end } = serve('blk', ...args);
    await vi.waitFor(() => expect(err.join('')).toContain('"event":"listening"'), 20_000);
    const descriptors = new NodeDescriptors();
    for (let machine = 0; machine < 2; machine++) {
      const shared = new SharedMemory(descriptors, 2 ** 20);
      const pciFunction = await VfioPciFunction.open(connectUnix(path), { descriptors, shared });
      const room = { memory: { start: 0xe000_0000, length: 0x1000_0000 } };
      const disk = await openBlk(await openPci(pciFunction, { room }));
      expect((await disk.read(0, 1))[0]).toBe(machine === 0 ? 0 : 7);
      await disk.write(0, new Uint8Array(512).fill(7));
      pciFunction.close();
      shared.close();
    }
    const events = (): string[] =>
      err.flatMap((text) => [...text.matchAll(/"event":"(\w+)"/g)].map(([, event = '']) => event));
    const turn = ['connected', 'disconnected'];
    await vi.waitFor(() => expect(events()).toEqual(['listening', ...turn, ...turn]), 20_000);
    end();
    expect(await status).toBe(0);
  });

  it('serves one front end after the other, the next one waiting for its turn', async () => {
    const path = join(folder, 'one.sock');
    const image = join(folder, 'disk');
    writeFileSync(image, new Uint8Array(65536));
    const { status, err, end } = serve(
      'blk',
      '--socket-path',
      path,
      '--blk-file',
      image,
      '--json',
      '--no-packed',
    );
    status.catch(() => {});
    await vi.waitFor(() => expect(err.join('')).toContain('"listening"'), 20_000);
    const first = await features(path);
    expect((first.bits >> 34n) & 1n).toBe(0n);
    const second = features(path);
    first.close();
    (await second).close();
    await vi.waitFor(() => expect(err.join('').split('"disconnected"')).toHaveLength(3), 20_000);
    end();
    expect(await status).toBe(0);
    expect(readdirSync(folder)).not.toContain('one.sock');
    expect(JSON.parse(err[0] ?? '')).toMatchObject({
      event: 'listening',
      type: 'blk',
      uml: `virtio_uml.device=${path}:2`,
    });
  });

  it('ends with the first front end where it is told to', async () => {
    const path = join(folder, 'once.sock');
    const trace = join(folder, 'trace');
    const { status, err } = serve('entropy', '--socket', path, '--once', '--trace', trace);
    await vi.waitFor(() => expect(err.join('')).toContain('Ctrl-C ends it'), 20_000);
    (await features(path)).close();
    expect(await status).toBe(0);
    expect(JSON.parse(readFileSync(trace, 'utf8').split('\n')[0] ?? '')).toMatchObject({
      transport: 'vhost-user',
      devices: [{ name: 'entropy' }],
    });
  });

  it('maps the ports of a guest onto a Unix socket, and gives the place back', async () => {
    const path = join(folder, 'vsock.sock');
    const ports = join(folder, 'ports');
    const { status, err, end } = serve(
      ...['vsock', '--socket-path', path, '--uds-path', ports, '--guest-cid', '9'],
    );
    await vi.waitFor(() => expect(err.join('')).toContain('Ctrl-C ends it'), 20_000);
    const transport = await connectVhostUser(path, { deviceId: 19 });
    const guest = await openVsock(transport);
    expect(guest.cid).toBe(9);
    guest.listen(52, async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      stream.end();
    });
    const socket = createConnection({ path: ports, allowHalfOpen: true });
    socket.end('CONNECT 52\nhello');
    const heard: Buffer[] = [];
    for await (const piece of socket) heard.push(piece);
    expect(Buffer.concat(heard).toString()).toMatch(/^OK \d+\nhello$/);
    const second = serve('vsock', '--socket-path', join(folder, 'v2.sock'), '--uds-path', ports);
    await expect(second.status).rejects.toThrow(/--uds-path .*ports is in use/);
    await transport.close();
    end();
    expect(await status).toBe(0);
    expect(readdirSync(folder)).not.toContain('ports');
  });

  it('connects the guests of two commands', async () => {
    const at = (name: string): string => join(folder, name);
    const one = serve(
      ...['vsock', '--socket-path', at('one'), '--uds-path', at('one.ports'), '--guest-cid', '9'],
      ...['--sibling', `10=${at('other.ports')}`],
    );
    const other = serve(
      ...['vsock', '--socket-path', at('other'), '--uds-path', at('other.ports'), '--guest-cid', '10'],
    );
    for (const { err } of [one, other]) {
      await vi.waitFor(() => expect(err.join('')).toContain('Ctrl-C ends it'), 20_000);
    }
    const transports = await Promise.all(
      [at('one'), at('other')].map((path) => connectVhostUser(path, { deviceId: 19 })),
    );
    const [guest, sibling] = await Promise.all(transports.map((transport) => openVsock(transport)));
    sibling?.listen(52, async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      stream.end();
    });
    const stream = await guest?.connect(52, 10);
    await stream?.write(Buffer.from('to the other guest'));
    stream?.end();
    expect(Buffer.from((await stream?.read()) ?? []).toString()).toBe('to the other guest');
    // The other one was told of no sibling.
    await expect(sibling?.connect(52, 9)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    for (const transport of transports) await transport.close();
    for (const { end, status } of [one, other]) {
      end();
      expect(await status).toBe(0);
    }
  });

  it('says what it can do, whatever else it is told', async () => {
    const { status, out } = serve('blk', '--print-capabilities', '--fd', 'x');
    expect(await status).toBe(0);
    expect(JSON.parse(out.join(''))).toEqual({ type: 'block', features: ['read-only', 'blk-file'] });
    const qemu = serve('entropy', '--socket-path', '/run/r.sock', '--print-qemu-args');
    expect(await qemu.status).toBe(0);
    expect(qemu.out.join('')).toContain('-device vhost-user-rng-pci,chardev=vhost-entropy,packed=on');
    const nowhere = serve('console', '--fd', '3', '--print-qemu-args');
    await expect(nowhere.status).rejects.toMatchObject({ status: 2 });
    expect(nowhere.out).toEqual([]);
  });

  it('leaves an image alone that another program writes', async () => {
    const image = join(folder, 'locked');
    writeFileSync(image, new Uint8Array(4096));
    const path = join(folder, 'a.sock');
    const first = serve('blk', '--socket-path', path, '--blk-file', image);
    await vi.waitFor(() => expect(first.err.join('')).toContain('Ctrl-C ends it'), 20_000);
    const second = serve('blk', '--socket-path', join(folder, 'b.sock'), '--blk-file', image);
    await expect(second.status).rejects.toThrow(
      /in use by another program; end that one, or give both --read-only/,
    );
    const third = serve('entropy', '--socket-path', path);
    await expect(third.status).rejects.toThrow(/in use/);
    first.end();
    expect(await first.status).toBe(0);
  });

  it('can be ended while a server far away does not answer', async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = Object(silent.address());
    const connected = once(silent, 'connection');
    const { status, end } = serve(
      ...['blk', '--socket-path', join(folder, 'far.sock'), '--blk-file', `nbd://127.0.0.1:${port}/x`],
    );
    const [socket] = await connected;
    end();
    expect(await status).toBe(0);
    socket.destroy();
    silent.close();
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'ends with its place given back at %s',
    async (signal) => {
      const path = join(folder, `${signal}.sock`);
      const err: string[] = [];
      const output = { out() {}, err: (text: string) => void err.push(text), colour: false };
      const status = runProgram(
        ['serve', 'entropy', '--socket-path', path],
        { ...others, serve: (type, options) => serveCommand(type, options, output) },
        output.out,
      );
      await vi.waitFor(() => expect(err.join('')).toContain('Ctrl-C ends it'), 20_000);
      process.emit(signal, signal);
      expect(await status).toBe(0);
      expect(existsSync(path)).toBe(false);
    },
  );

  it.each([
    [['--socket-path', `${folder}/nowhere/a.sock`], /--socket-path: .*: there is no such folder; make it/],
    [['--socket-path', 'x'.repeat(108)], /--socket-path: .* choose a shorter one/],
    [['--fd', '999'], /--fd 999: there is no descriptor 999/],
  ])('says what is wrong with %j', async (place, message) => {
    const { status } = serve('entropy', ...place);
    await expect(status).rejects.toMatchObject({ status: 2, message: expect.stringMatching(message) });
  });

  it('takes a socket that it was started with, and ends with it', async () => {
    const main = fileURLToPath(new URL('../main.ts', import.meta.url));
    const args = [main, 'serve', 'entropy', '--fd', '3'];
    // Node makes the pipes that it gives a child of connected sockets.
    const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=source', ...args], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    const ended = once(child, 'exit');
    const socket = child.stdio[3];
    if (!(socket instanceof Duplex)) throw new Error('there is no socket');
    socket.write(VhostUserHeader.encode({ request: frontEndMessages.GET_FEATURES.id, flags: 1, size: 0 }));
    const [answer] = await once(socket, 'data');
    expect(answer).toHaveLength(VhostUserHeader.size + 8);
    socket.end();
    expect((await ended)[0]).toBe(0);
  });
});

it('writes the files by which others find the back ends', async () => {
  const out: string[] = [];
  const output = { out: (text: string) => void out.push(text), err() {}, colour: false };
  const target = join(folder, 'found');
  expect(await descriptorsCommand({ user: false, folder: target, json: false }, output)).toBe(0);
  const files = readdirSync(target).sort();
  const names = ['blk', 'console', 'entropy', 'fs', 'net', 'vsock'];
  expect(files).toEqual(names.map((name) => `60-virtio-ts-${name}.json`));
  const blk = JSON.parse(readFileSync(join(target, files[0] ?? ''), 'utf8'));
  expect(blk).toMatchObject({ type: 'block', description: 'virtio-ts blk' });
  expect(readFileSync(blk.binary, 'utf8')).toContain("'serve', 'blk'");
  await expect(descriptorsCommand({ user: false, json: false }, output)).rejects.toThrow(/needs --user/);
  const onFile = descriptorsCommand({ user: false, folder: blk.binary, json: false }, output);
  await expect(onFile).rejects.toMatchObject({
    status: 2,
    message: expect.stringMatching(/give another by --folder/),
  });
});
