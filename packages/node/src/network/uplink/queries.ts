import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createConnection } from 'node:net';

/** Milliseconds that a name server has for its answer. */
const patience = 3000;
/** Name servers that are asked, one after the other. */
const mostServers = 3;

/** Where a name server is. */
interface Server {
  readonly address: string;
  readonly port: number;
}

/** From `10.0.0.1`, `10.0.0.1:53`, `::1` or `[::1]:53`, as Node writes them. */
export function serverOf(text: string): Server {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
  return { address: bracketed ?? plain ?? text, port: Number(port ?? 53) };
}

/**
 * Asks name servers, one after the other, until one answers. Each query goes out from a port and under a number of its own,
 * which nobody can guess who does not see it.
 *
 * @param large over TCP, so that the answer may have any size
 */
export async function query(
  servers: readonly string[],
  message: Uint8Array,
  large: boolean,
): Promise<Uint8Array | undefined> {
  for (const server of servers.slice(0, mostServers)) {
    const asked = message.slice();
    const id = randomInt(65_536);
    asked[0] = id >> 8;
    asked[1] = id & 0xff;
    const answer = await (large ? overTcp(serverOf(server), asked) : overUdp(serverOf(server), asked));
    if (answer === undefined) continue;
    answer[0] = message[0]!;
    answer[1] = message[1]!;
    return answer;
  }
  return undefined;
}

function overUdp({ address, port }: Server, message: Uint8Array): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const finish = (answer: Uint8Array | undefined): void => {
      clearTimeout(timer);
      socket.removeAllListeners('message');
      socket.close(() => resolve(answer));
    };
    const timer = setTimeout(() => finish(undefined), patience);
    socket.once('error', () => finish(undefined));
    socket.on('message', (bytes) => {
      if (bytes.length < 12 || bytes[0] !== message[0] || bytes[1] !== message[1]) return;
      finish(Uint8Array.from(bytes));
    });
    // Connected, it hears of nobody else, and of a server that is not there.
    socket.connect(port, address, () => socket.send(message));
  });
}

function overTcp({ address, port }: Server, message: Uint8Array): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(port, address);
    let have = Buffer.alloc(0);
    const finish = (answer: Uint8Array | undefined): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(patience, () => finish(undefined));
    socket.once('error', () => finish(undefined));
    socket.once('close', () => resolve(undefined));
    socket.once('connect', () => {
      socket.write(Uint8Array.of(message.length >> 8, message.length & 0xff));
      socket.write(message);
    });
    socket.on('data', (bytes: Buffer) => {
      have = Buffer.concat([have, bytes]);
      if (have.length < 2) return;
      const length = have.readUInt16BE(0);
      if (have.length < 2 + length) return;
      const answer = Uint8Array.from(have.subarray(2, 2 + length));
      finish(length < 12 || answer[0] !== message[0] || answer[1] !== message[1] ? undefined : answer);
    });
  });
}
