/** Sockets that `virtio serve vsock` lends to QEMU: ports of Linux as Unix sockets of this machine. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, GuestSession, guestFiles, type NativeGuest, serialPorts } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CommandRun, endAll } from './cli-command.ts';
import { sha256, sha256Of } from './hash.ts';
import { qemu } from './qemu-machine.ts';
import { vsockGuest } from './vsock-suite.ts';

const connections = 1000;
const atOnce = 10;
const bytes = 20_000_000;
const mebibyte = 2 ** 20;

let folder: string;
let ports: string;
let command: CommandRun;
let guest: NativeGuest;
let session: GuestSession;
const servers: Server[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-vsock-'));
  ports = join(folder, 'ports');
  const socket = join(folder, 'vsock.sock');
  command = new CommandRun(
    ['serve', 'vsock', '--socket-path', socket, '--uds-path', ports, '--guest-cid', '42'],
    cacheFolder(),
  );
  await command.reports('Ctrl-C ends it');
  guest = await QemuGuest.start({
    tool: await qemu('qemu-x86'),
    guest: await guestFiles({ machine: 'qemu', ...vsockGuest }),
    ports: 2,
    append: serialPorts('ttyS1', 'ttyS2'),
    args: [
      ...['-chardev', `socket,id=ours,path=${socket}`],
      ...['-device', 'vhost-user-vsock-pci,chardev=ours,packed=on'],
    ],
  });
  session = new GuestSession(guest);
  await session.ready();
  await session.text('modprobe vmw_vsock_virtio_transport');
});

afterAll(async () => {
  await guest?.close();
  endAll();
  for (const server of servers) server.close();
  await rm(folder, { recursive: true });
});

/** Takes the guest's connections to a port. */
async function listen(port: number, serve: (socket: Socket) => void): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, serve);
  servers.push(server);
  await once(server.listen(`${ports}_${port}`), 'listening');
}

/** Connects to a port of the guest's, as soon as somebody listens there. */
async function connect(port: number): Promise<Socket> {
  return vi.waitFor(
    async () => {
      const socket = createConnection({ path: ports, allowHalfOpen: true });
      socket.write(`CONNECT ${port}\n`);
      const [line] = await Promise.race([once(socket, 'data'), once(socket, 'end')]);
      if (!Buffer.isBuffer(line)) {
        socket.destroy();
        throw new Error(`nobody listens at ${port}`);
      }
      socket.pause();
      expect(line.toString()).toMatch(/^OK \d+\n$/);
      return socket;
    },
    { interval: 50, timeout: 60_000 },
  );
}

/** What the command has open and mapped. */
function held(): { readonly descriptors: number; readonly mappings: number } {
  return {
    descriptors: readdirSync(`/proc/${command.pid}/fd`).length,
    mappings: readFileSync(`/proc/${command.pid}/maps`, 'utf8').split('/memfd:').length,
  };
}

/** Bytes of memory that the command has. */
const resident = (): number =>
  Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${command.pid}/status`, 'utf8'))?.[1]) * 1024;

test('bytes go both ways unchanged', async () => {
  const sent = randomBytes(bytes);
  let received = Promise.resolve('');
  await listen(1024, (socket) => socket.end(sent));
  await listen(1025, (socket) => {
    received = sha256Of(socket).finally(() => socket.end());
  });
  const said = await session.text('socat -b 65536 -u VSOCK-CONNECT:2:1024 CREATE:/tmp/r; sha256sum </tmp/r');
  expect(said).toBe(`${sha256(sent)}  -`);
  await session.text('socat -b 65536 -u OPEN:/tmp/r VSOCK-CONNECT:2:1025; rm /tmp/r');
  expect(`${await received}  -`).toBe(said);
});

test(`${connections} connections leave nothing behind`, async () => {
  await session.text('socat VSOCK-LISTEN:5000,fork PIPE >/dev/null 2>&1 &');
  const visit = async (number: number): Promise<void> => {
    const socket = await connect(5000);
    const text = `visit ${number}`;
    socket.end(text);
    let answer = '';
    for await (const piece of socket) answer += piece;
    expect(answer).toBe(text);
  };
  const visits = async (from: number, to: number): Promise<void> => {
    let next = from;
    const visitor = async (): Promise<void> => {
      while (next < to) await visit(next++);
    };
    await Promise.all(Array.from({ length: atOnce }, visitor));
  };
  const before = held();
  await visits(0, connections / 4);
  const memory = resident();
  await visits(connections / 4, connections);
  await vi.waitFor(() => expect(held()).toEqual(before), { timeout: 100_000 });
  expect(resident() - memory).toBeLessThan(32 * mebibyte);
});

test('a reader in the guest that stalls costs the command no memory, and loses nothing', async () => {
  await session.text('socat -u VSOCK-LISTEN:5001 CREATE:/tmp/got & echo $! >/tmp/reader');
  const socket = await connect(5001);
  await session.text('kill -STOP $(cat /tmp/reader)');
  const before = resident();
  const sent = randomBytes(64 * mebibyte);
  socket.end(sent);
  await listen(1026, (other) => other.pipe(other));
  for (let i = 0; i < 5; i++) {
    expect(await session.text('echo beside | socat -t 60 - VSOCK-CONNECT:2:1026')).toBe('beside');
  }
  expect(socket.writableLength).toBeGreaterThan(0);
  expect(resident() - before).toBeLessThan(32 * mebibyte);
  await session.text('kill -CONT $(cat /tmp/reader)');
  await once(socket.resume(), 'close');
  expect(await session.text('sha256sum </tmp/got; rm /tmp/got')).toBe(`${sha256(sent)}  -`);
});

test('it ends in order', async () => {
  command.kill('SIGTERM');
  expect(await command.end()).toMatchObject({ status: 0 });
  expect(existsSync(ports)).toBe(false);
});
