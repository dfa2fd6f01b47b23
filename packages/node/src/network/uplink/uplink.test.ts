import { createHash, randomFillSync } from 'node:crypto';
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect } from 'virtio/link';
import { type NetworkOptions, Station, type TcpStream, userNetwork } from 'virtio/network';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { nodeUplink } from './uplink.ts';

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

/** A station at one end of a cable, the world at the other. */
function joined(options: NetworkOptions = {}, takesAll = true) {
  const network = userNetwork({ uplink: nodeUplink(), ...options });
  const station = new Station(takesAll ? { takes: network.takes } : {});
  const cable = connect(station, network);
  closers.push(() => {
    station.close();
    network.close();
    cable.close();
  });
  return { network, station };
}

async function serve(handler: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, handler);
  server.listen({ port: 0, host, backlog: 2048 });
  await once(server, 'listening');
  closers.push(() => server.close());
  return portOf(server);
}

function portOf(server: Server | Datagrams): number {
  // Of a socket with an address of IP, which these are.
  return (server.address() as AddressInfo).port;
}

async function hashOf(stream: TcpStream): Promise<{ readonly hash: string; readonly length: number }> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const bytes of stream) {
    hash.update(bytes);
    length += bytes.length;
  }
  return { hash: hash.digest('hex'), length };
}

const large = randomFillSync(new Uint8Array(20 << 20));
const largeHash = createHash('sha256').update(large).digest('hex');

describe('an uplink over the sockets of Node', () => {
  it.each([
    ['unfinished', true],
    ['finished', false],
  ])('carries 20 MB down, in %s frames', async (_, takesAll) => {
    const port = await serve((socket) => socket.end(large));
    const { station } = joined({}, takesAll);
    const stream = await station.connect('10.0.2.2', port);
    stream.end();
    expect(await hashOf(stream)).toEqual({ hash: largeHash, length: large.length });
  });

  it('carries 20 MB up, and the answer down behind the end of that', async () => {
    const port = await serve((socket) => {
      const hash = createHash('sha256');
      socket.on('data', (bytes) => hash.update(bytes));
      socket.on('end', () => socket.end(hash.digest('hex')));
    });
    const { station } = joined();
    const stream = await station.connect('10.0.2.2', port);
    for (let at = 0; at < large.length; at += 1 << 20) await stream.write(large.slice(at, at + (1 << 20)));
    stream.end();
    expect(await text(stream)).toBe(largeHash);
  });

  it('reaches ::1 by IPv6', async () => {
    const port = await serve((socket) => socket.pipe(socket), '::1');
    const { station } = joined();
    const stream = await station.connect('fec0::2', port);
    await stream.write(encode('by six'));
    stream.end();
    expect(await text(stream)).toBe('by six');
  });

  it('says that nobody listens, as the host does', async () => {
    const port = await serve(() => {});
    closers.pop()?.();
    const { station } = joined();
    await expect(station.connect('10.0.2.2', port)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('keeps guests from the host itself when it is told to', async () => {
    const port = await serve((socket) => socket.end('secret'));
    const { station } = joined({ hostLoopback: false });
    await expect(station.connect('10.0.2.2', port)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('resets a guest whose peer was reset', async () => {
    const port = await serve((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const { station } = joined();
    const stream = await station.connect('10.0.2.2', port);
    stream.write(encode('?')).catch(() => {});
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('holds back who sends to a guest that does not read', async () => {
    let sent = 0;
    const { promise: stuck, resolve: isStuck } = later();
    const port = await serve((socket) => {
      const more = (): void => {
        while (sent < large.length) {
          const piece = large.subarray(sent, sent + (1 << 18));
          sent += piece.length;
          if (socket.write(piece)) continue;
          const idle = setTimeout(isStuck, 100);
          socket.once('drain', () => {
            clearTimeout(idle);
            more();
          });
          return;
        }
        isStuck();
        socket.end();
      };
      more();
    });
    const { station } = joined();
    const stream = await station.connect('10.0.2.2', port);
    await stuck;
    // The buffers of the kernel and of both ends hold less.
    expect(sent).toBeLessThan(large.length);
    stream.end();
    expect((await hashOf(stream)).length).toBe(large.length);
  });

  it('carries a thousand connections at once', async () => {
    const port = await serve((socket) => socket.pipe(socket));
    const { station, network } = joined();
    // So few wait for the network's MAC address that most would ask again a second later.
    await station.ping('10.0.2.2', new Uint8Array());
    const streams = await Promise.all(Array.from({ length: 1000 }, () => station.connect('10.0.2.2', port)));
    expect(network.connections).toBe(1000);
    const answers = streams.map(async (stream, number) => {
      await stream.write(encode(`connection ${number}`));
      stream.end();
      return await text(stream);
    });
    expect(await Promise.all(answers)).toEqual(streams.map((_, number) => `connection ${number}`));
  });

  it.each([
    ['127.0.0.1', '10.0.2.2'],
    ['::1', 'fec0::2'],
  ])('carries datagrams to %s and back', async (own, seen) => {
    const server = createSocket(own.includes(':') ? 'udp6' : 'udp4');
    server.on('message', (bytes, { address, port }) => server.send(bytes, port, address));
    server.bind(0, own);
    await once(server, 'listening');
    closers.push(() => server.close());
    const { station } = joined();
    for (const size of [0, 5, 1472, 9000, 60_000]) {
      const sent = randomFillSync(new Uint8Array(size));
      const answer = await new Promise((resolve) => {
        const socket = station.socket(5000, (bytes, address, port) => {
          resolve({ same: Buffer.compare(bytes, sent) === 0, address, port });
          socket.close();
        });
        socket.send(sent, seen, portOf(server));
      });
      expect(answer).toEqual({ same: true, address: seen, port: portOf(server) });
    }
  });

  it('forwards a port of the host to a guest', async () => {
    const { station, network } = joined();
    station.listen(80, async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      stream.end();
    });
    const { port, close } = await network.forward({ protocol: 'tcp', guestPort: 80 });
    const socket = createConnection(port, '127.0.0.1');
    socket.end('from outside');
    expect(await collected(socket)).toBe('from outside');
    const refused = await network.forward({ protocol: 'tcp', guestPort: 81 });
    const other = createConnection(refused.port, '127.0.0.1');
    await expect(once(other, 'end')).rejects.toMatchObject({ code: 'ECONNRESET' });
    close();
    const late = createConnection(port, '127.0.0.1');
    await expect(once(late, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('forwards datagrams of the host to a guest, and its answers', async () => {
    const { station, network } = joined();
    const service = station.socket(53, (bytes, address, port) => service.send(bytes, address, port));
    const { port } = await network.forward({ protocol: 'udp', guestPort: 53 });
    const socket = createSocket('udp4');
    closers.push(() => socket.close());
    const answered = once(socket, 'message');
    socket.send('question', port, '127.0.0.1');
    const [bytes, from] = await answered;
    expect([String(bytes), from.port]).toEqual(['question', port]);
  });

  /** Whether this process may ping at all. */
  const pings = async (): Promise<boolean> =>
    (await nodeUplink().echo?.('127.0.0.1', new Uint8Array(8))) === true;

  it('pings who is there, and stays silent for who is not', async ({ skip }) => {
    const uplink = nodeUplink();
    expect(await uplink.echo?.('no address', new Uint8Array())).toBe(false);
    // Where it may not, nobody answers.
    if (!(await pings())) return skip('this process may not ping');
    const before = readdirSync('/proc/self/fd').length;
    const sizes = [0, 1, 56, 8000, 60_000];
    const answers = sizes.map((size) => uplink.echo?.('127.0.0.1', randomFillSync(new Uint8Array(size))));
    expect(await Promise.all(answers)).toEqual(sizes.map(() => true));
    const silent = uplink.echo?.('198.51.100.77', new Uint8Array(8));
    uplink.close?.();
    expect(await silent).toBe(false);
    await vi.waitFor(() => {
      // Sockets of the tests before may be closing still.
      expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
    }, 30_000);
  });

  it.for([4, 6] as const)('pings the world for a guest, by IPv%i', async (version, { skip }) => {
    const own = Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === `IPv${version}` && !one.internal && !one.address.startsWith('fe80'));
    if (own === undefined) return skip(`this machine has no address of IPv${version} but its own`);
    const isThere = await nodeUplink().echo?.(own.address, new Uint8Array(8));
    if (isThere !== true) return skip('this process may not ping');
    const { station } = joined();
    const sent = randomFillSync(new Uint8Array(1000));
    expect(await station.ping(own.address, sent)).toEqual(sent);
  });

  it('gives a port back when it is closed, and says when one is taken', async () => {
    const { network } = joined();
    const { port } = await network.forward({ protocol: 'tcp', guestPort: 80 });
    const again = network.forward({ protocol: 'tcp', guestPort: 81, port });
    await expect(again).rejects.toMatchObject({ code: 'IN_USE' });
  });

  it('asks the name servers that it was told, over UDP and TCP', async () => {
    const question = (id: number): Uint8Array =>
      Uint8Array.of(
        0,
        id,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        7,
        ...encode('example'),
        3,
        ...encode('org'),
        0,
        0,
        1,
        0,
        1,
      );
    const answerTo = (query: Uint8Array, by: number): Uint8Array => {
      const answer = Uint8Array.of(...query, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, by);
      answer.set([0x81, 0x80], 2);
      answer[7] = 1;
      return answer;
    };
    const overTcp = createServer((socket) => {
      socket.on('data', (bytes) => {
        // The length may come by itself.
        if (bytes.length <= 2) return;
        const query = bytes.length === 29 ? bytes : bytes.subarray(2);
        const answer = answerTo(query, 2);
        socket.write(Uint8Array.of(0, answer.length, ...answer));
      });
    });
    overTcp.listen(0, '127.0.0.1');
    await once(overTcp, 'listening');
    closers.push(() => overTcp.close());
    const server = createSocket('udp4');
    server.on('message', (query, { address, port }) => server.send(answerTo(query, 1), port, address));
    server.bind(portOf(overTcp), '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    const { station } = joined({ uplink: nodeUplink({ nameServers: [`127.0.0.1:${portOf(server)}`] }) });
    const answered = new Promise<Uint8Array>((resolve) => {
      const socket = station.socket(5000, (bytes) => resolve(bytes.slice()));
      socket.send(question(7), '10.0.2.3', 53);
    });
    expect(await answered).toEqual(answerTo(question(7), 1));
    const stream = await station.connect('10.0.2.3', 53);
    await stream.write(Uint8Array.of(0, 29, ...question(8)));
    stream.end();
    const bytes: number[] = [];
    for await (const part of stream) bytes.push(...part);
    const expected = answerTo(question(8), 2);
    expect(Uint8Array.from(bytes)).toEqual(Uint8Array.of(0, expected.length, ...expected));
  });
});

/** A promise, and what settles it. */
function later(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

async function text(stream: TcpStream): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const bytes of stream) parts.push(bytes);
  return Buffer.concat(parts).toString();
}

async function collected(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  for await (const bytes of socket) parts.push(bytes);
  return Buffer.concat(parts).toString();
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
