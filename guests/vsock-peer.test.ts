/** Our driver on rust-vmm's socket device, over vhost-user. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OpenVsock, openVsock } from 'virtio/devices/vsock';
import { ensureTool, GuardedChild } from 'virtio-node/guests';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { sha256 } from './hash.ts';

const bytes = 20_000_000;
const patience = 100_000;

let folder: string;
let ports: string;
let daemon: GuardedChild;
let guest: OpenVsock;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-vsock-'));
  ports = join(folder, 'ports');
  const socket = join(folder, 'vsock.sock');
  const { file, environment } = await ensureTool('vhost-device-vsock', { path: [] });
  daemon = await GuardedChild.start(file, ['--guest-cid', '42', '--socket', socket, '--uds-path', ports], {
    name: 'vhost-device-vsock',
    environment,
  });
  // It has a place before it takes anybody there.
  const transport = await vi.waitFor(() => connectVhostUser(socket, { deviceId: 19, timeout: patience }), {
    timeout: patience,
  });
  guest = await openVsock(transport);
});
afterAll(async () => {
  await guest?.close();
  await daemon?.kill();
  await rm(folder, { recursive: true });
});

test('bytes go both ways unchanged', async () => {
  expect(guest.cid).toBe(42);
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  await once(server.listen(`${ports}_1024`), 'listening');
  const stream = await guest.connect(1024);
  const sent = randomBytes(bytes);
  const written = (async () => {
    for (let at = 0; at < bytes; at += 65_536) await stream.write(sent.subarray(at, at + 65_536));
  })();
  const hash = createHash('sha256');
  // It passes the end of one half on to nobody, so it is the length that tells.
  for (let received = 0; received < bytes; ) {
    const piece = (await stream.read()) ?? expect.fail('it ended before all was there');
    hash.update(piece);
    received += piece.length;
  }
  await written;
  stream.reset();
  expect(hash.digest('hex')).toBe(sha256(sent));
  server.close();
});

test('the host connects to a port of ours', async () => {
  guest.listen(52, async (stream) => {
    for await (const piece of stream) await stream.write(piece);
    stream.end();
  });
  const answer = async (port: number): Promise<string> => {
    const socket = createConnection({ path: ports, allowHalfOpen: true });
    socket.on('error', () => {});
    socket.write(`CONNECT ${port}\n`);
    let heard = '';
    for await (const piece of socket) {
      heard += piece;
      if (/^OK \d+\n$/.test(heard)) socket.write('hello');
      if (heard.endsWith('hello')) break;
    }
    return heard;
  };
  expect(await answer(52)).toMatch(/^OK \d+\nhello$/);
});

test('hundreds of connections, one after the other and at once', async () => {
  const server = createServer((socket) => socket.end('visit'));
  await once(server.listen(`${ports}_1025`), 'listening');
  const visit = async (): Promise<string> => {
    const stream = await guest.connect(1025);
    let heard = '';
    for await (const piece of stream) heard += Buffer.from(piece).toString();
    stream.end();
    return heard;
  };
  for (let turn = 0; turn < 20; turn++) {
    expect(await Promise.all(Array.from({ length: 10 }, visit))).toEqual(new Array(10).fill('visit'));
  }
  server.close();
});
