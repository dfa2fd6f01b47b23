import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import {
  type OpenVsock,
  openVsock,
  type VsockDevice,
  type VsockStream,
  vsockDevice,
} from 'virtio/devices/vsock';
import { Loopback } from 'virtio/transports/loopback';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openUnixPorts, type UnixPorts } from './index.ts';

let folder: string;
let path: string;
let device: VsockDevice;
let guest: OpenVsock;
let ports: UnixPorts;

beforeEach(async () => {
  folder = await mkdtemp(joinPath(tmpdir(), 'virtio-vsock-'));
  path = joinPath(folder, 'ports');
  device = vsockDevice({ guestCid: 3 });
  ports = await openUnixPorts(device, path);
  guest = await openVsock(new Loopback(device));
});
afterEach(async () => {
  await ports.close();
  await rm(folder, { recursive: true });
});

const sha256 = (...bytes: Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const piece of bytes) hash.update(piece);
  return hash.digest('hex');
};

async function all(from: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const bytes of from) pieces.push(bytes);
  return pieces;
}

const open = (): Socket => createConnection({ path, allowHalfOpen: true });

/** A socket's file, as a program leaves it that was killed. */
async function leaveSocket(at: string): Promise<void> {
  const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  const child = spawn(process.execPath, ['-e', script, at]);
  await once(child, 'exit');
  expect(existsSync(at)).toBe(true);
}

async function echo(stream: VsockStream): Promise<void> {
  for await (const bytes of stream) await stream.write(bytes);
  stream.end();
}

describe('ports as Unix sockets', () => {
  it('take a connection to a port of the guest, by its first line', async () => {
    guest.listen(52, echo);
    const sent = randomBytes(3_000_000);
    const socket = open();
    // The line and what follows it may come together.
    socket.end(Buffer.concat([Buffer.from('CONNECT 52\n'), sent]));
    const heard = Buffer.concat(await all(socket));
    const line = heard.subarray(0, heard.indexOf('\n') + 1);
    expect(line.toString()).toMatch(/^OK \d+\n$/);
    expect(sha256(heard.subarray(line.length))).toBe(sha256(sent));
  });

  it('hang up where nobody listens, and on who says something else', async () => {
    guest.listen(52, () => expect.fail('nobody was to be connected'));
    for (const line of [
      'CONNECT 53\n',
      'CONNECT 4294967295\n',
      'CONNECT x\n',
      'GET / HTTP/1.1\n',
      'CONNECT 52',
      '5'.repeat(99),
    ]) {
      const socket = open();
      socket.on('error', () => {});
      socket.end(line);
      expect(await all(socket).catch(() => [])).toEqual([]);
    }
  });

  it('bring connections of the guest to the socket of their port', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    await once(server.listen(`${path}_1234`), 'listening');
    const stream = await guest.connect(1234);
    const sent = randomBytes(3_000_000);
    const written = stream.write(sent).then(() => stream.end());
    expect(sha256(...(await all(stream)))).toBe(sha256(sent));
    await written;
    await stream.closed;
    await expect(guest.connect(1235)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    await expect(guest.connectSeqpacket(1234)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    server.close();
  });

  it('bring connections of the guest to other guests, each at its path', async () => {
    await ports.close();
    const there = joinPath(folder, 'sibling');
    const sibling = vsockDevice({ guestCid: 9 });
    const siblingPorts = await openUnixPorts(sibling, there);
    const siblings = new Map([
      [9, there],
      [10, joinPath(folder, 'nobody')],
    ]);
    ports = await openUnixPorts(device, path, { siblings });
    const other = await openVsock(new Loopback(sibling));
    const peers: number[] = [];
    other.listen(52, (stream) => {
      peers.push(stream.peerCid);
      return echo(stream);
    });
    const stream = await guest.connect(52, 9);
    const sent = randomBytes(1_000_000);
    const written = stream.write(sent).then(() => stream.end());
    expect(sha256(...(await all(stream)))).toBe(sha256(sent));
    await written;
    // By this convention it comes from the host.
    expect(peers).toEqual([2]);
    for (const [port, cid] of [
      [53, 9],
      [52, 10],
      [52, 11],
    ] as const) {
      await expect(guest.connect(port, cid)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    }
    await expect(guest.connectSeqpacket(52, 9)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    await siblingPorts.close();
    await expect(guest.connect(52, 9)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('leave ports to the program that listens at them itself', async () => {
    device.listen(80, echo);
    const stream = await guest.connect(80);
    await stream.write(Buffer.from('here'));
    expect(await stream.read()).toEqual(new Uint8Array(Buffer.from('here')));
  });

  it('hold back who writes while the guest does not read', async () => {
    const taken = new Promise<VsockStream>((resolve) => void guest.listen(52, resolve));
    const socket = open();
    socket.write('CONNECT 52\n');
    const stream = await taken;
    let drained = false;
    socket.write(Buffer.alloc(8_000_000), () => {
      drained = true;
    });
    socket.end();
    // A credit of 256 KiB and the buffers of the two sockets on the way are what anybody takes of it.
    let received = (await stream.read())?.length ?? 0;
    expect(drained).toBe(false);
    for await (const bytes of stream) received += bytes.length;
    expect(received).toBe(8_000_000);
    socket.destroy();
  });

  it('pass on that one side is gone', async () => {
    const taken: VsockStream[] = [];
    guest.listen(52, (stream) => taken.push(stream));
    const socket = open();
    socket.write('CONNECT 52\n');
    await once(socket, 'data');
    socket.destroy();
    // At first it only looks as if it had nothing more to say.
    expect(await taken[0]?.read()).toBeUndefined();
    await expect(
      (async () => {
        for (;;) await taken[0]?.write(new Uint8Array(65_536));
      })(),
    ).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    const other = open();
    other.write('CONNECT 52\n');
    await once(other, 'data');
    const ended = once(other, 'end');
    taken[1]?.reset();
    await ended;
    other.destroy();
  });

  it('end with what they were opened for', async () => {
    guest.listen(52, () => {});
    const socket = open();
    socket.on('error', () => {});
    socket.write('CONNECT 52\n');
    await once(socket, 'data');
    const ended = once(socket, 'end');
    await ports.close();
    await ports.close();
    await ended;
    socket.destroy();
    expect(existsSync(path)).toBe(false);
    await expect(guest.connect(1)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('take the place of a socket that nobody listens at, and no other', async () => {
    const second = vsockDevice({ guestCid: 4 });
    await expect(openUnixPorts(second, path)).rejects.toMatchObject({ code: 'IN_USE' });
    const file = joinPath(folder, 'file');
    await writeFile(file, 'precious');
    await expect(openUnixPorts(second, file)).rejects.toMatchObject({ code: 'IN_USE' });
    expect(await readFile(file, 'utf8')).toBe('precious');
    const stale = joinPath(folder, 'stale');
    await leaveSocket(stale);
    await (await openUnixPorts(second, stale)).close();
    await expect(openUnixPorts(second, joinPath(folder, 'no', 'where'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(openUnixPorts(second, joinPath(folder, 'x'.repeat(200)))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });
});
