import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createConnection, createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { pipeline } from 'node:stream/promises';

/** What guests have beside what every guest has. */
export const netGuest = { programs: ['ethtool', 'socat'] } as const;

const piece = Buffer.alloc(65_536);
for (let at = 0; at < piece.length; at++) piece[at] = (at * 31 + (at >>> 8) * 17) & 0xff;

/** The bytes that servers here give, in hexadecimal SHA-256. */
export function hashOfBytes(length: number): string {
  const hash = createHash('sha256');
  for (const bytes of bytesOf(length)) hash.update(bytes);
  return hash.digest('hex');
}

/**
 * What guests talk to on this machine. `GET /bytes/N` gives so many bytes, `GET /together/N` answers
 * when so many ask at the same time. Whoever sends to the other port and then ends hears the hash of it.
 */
export class GuestServers {
  readonly #http: Server;
  readonly #sink: TcpServer;
  readonly #waiting: ServerResponse[] = [];
  /** The most that asked at the same time. */
  together = 0;

  private constructor() {
    this.#http = createServer((request, response) => void this.#serve(request, response));
    this.#sink = createTcpServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256');
      socket.on('error', () => {});
      socket.on('data', (bytes: Buffer) => void hash.update(bytes));
      socket.on('end', () => socket.end(`${hash.digest('hex')}\n`));
    });
  }

  static async start(): Promise<GuestServers> {
    const servers = new GuestServers();
    // Of either family, where this machine has both.
    for (const server of [servers.#http, servers.#sink]) {
      server.listen(0, '::');
      await once(server, 'listening');
    }
    return servers;
  }

  get port(): number {
    return portOf(this.#http);
  }

  get sinkPort(): number {
    return portOf(this.#sink);
  }

  async stop(): Promise<void> {
    this.#http.closeAllConnections();
    for (const server of [this.#http, this.#sink]) {
      server.close();
      await once(server, 'close');
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    const [, what, number] = (request.url ?? '').split('/');
    if (what === 'bytes') {
      response.setHeader('content-length', Number(number));
      // A guest that hangs up early is no trouble of the test's.
      await pipeline(bytesOf(Number(number)), response).catch(() => {});
    } else if (what === 'together') {
      this.#waiting.push(response);
      this.together = Math.max(this.together, this.#waiting.length);
      if (this.#waiting.length < Number(number)) return;
      for (const [index, one] of this.#waiting.splice(0).entries()) one.end(`${index}\n`);
    } else {
      response.end(`hello ${request.socket.remoteFamily}\n`);
    }
  }
}

/** So many bytes. */
export function* bytesOf(length: number): Generator<Buffer> {
  for (let at = 0; at < length; at += piece.length) yield piece.subarray(0, length - at);
}

/** Where a server listens. */
export function portOf(server: Server | TcpServer): number {
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the server does not listen');
  return address.port;
}

/** A port of this machine that nobody has, for somebody to listen at soon. */
export async function freePort(): Promise<number> {
  const server = createTcpServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

/** Sends bytes to a port of this machine, and gives what comes back; again until somebody is there. */
export async function ask(port: number, bytes: Uint8Array): Promise<string> {
  for (;;) {
    const socket = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true });
    const heard: Buffer[] = [];
    socket.on('error', () => {});
    socket.on('data', (piece: Buffer) => heard.push(piece));
    socket.end(bytes);
    await once(socket, 'close').catch(() => {});
    if (heard.length > 0) return Buffer.concat(heard).toString();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
