import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { HostError, UsageError } from 'virtio/errors';
import type { Endpoint } from 'virtio/link';
import { codeOf, listenAt, longestSocketPath } from '../host/listen-at.ts';
import { FrameSocket } from './frame-socket.ts';

/** Where a stream of frames is to be had: at a Unix socket, or at a port of TCP. */
export type StreamAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** How to keep to a stream, and who hears of it. */
export interface StreamOptions {
  /** Milliseconds after which a connection that has ended is tried again; it is not unless told. */
  readonly reconnectAfter?: number;
  /** Somebody is at the other end again. */
  readonly onConnected?: () => void;
  /** Nobody is there any more; without an error the other end left. */
  readonly onDisconnected?: (error: HostError | undefined) => void;
}

/** A connection of frames to another process: QEMU's `-netdev stream`, passt, or our own {@link listenStream}. */
export interface StreamConnection {
  readonly endpoint: Endpoint;
  readonly connected: boolean;
  /** Ends it, and tries no more. */
  close(): void;
}

/**
 * Connects to whoever speaks QEMU's stream protocol at this address.
 *
 * @throws {HostError} NOT_FOUND when there is no such socket, CONNECTION_REFUSED when nobody listens at it, IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export async function connectStream(
  address: StreamAddress,
  options: StreamOptions = {},
): Promise<StreamConnection> {
  const client = new Client(address, options);
  await client.connect();
  return client;
}

class Client implements StreamConnection {
  readonly endpoint = new FrameSocket();
  readonly #address: StreamAddress;
  readonly #options: StreamOptions;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(address: StreamAddress, options: StreamOptions) {
    this.#address = address;
    this.#options = options;
  }

  get connected(): boolean {
    return this.endpoint.connected;
  }

  async connect(): Promise<void> {
    const socket = await open(this.#address);
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.endpoint.use(socket, (error) => {
      if (this.#closed) return;
      this.#options.onDisconnected?.(error);
      this.#tryLater();
    });
    this.#options.onConnected?.();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.endpoint.disconnect();
  }

  #tryLater(): void {
    const { reconnectAfter } = this.#options;
    if (reconnectAfter === undefined || this.#closed) return;
    this.#retry = setTimeout(() => {
      this.connect().catch(() => this.#tryLater());
    }, reconnectAfter);
  }
}

/** A place where other processes join. */
export interface StreamListening {
  /** Where it listens, if it is a port of TCP: for 0 one that was free. */
  readonly port: number | undefined;
  /** Takes no more, and ends the connections that there are; the socket's file is removed. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Takes connections of QEMU's stream protocol. Each is an end of a link of its own: a switch's port, for one.
 *
 * @param join is given each new end, and answers what is to be done when it has left
 * @throws {HostError} IN_USE when somebody listens there; NOT_FOUND when the path's folder is not there; IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export async function listenStream(
  address: StreamAddress,
  join: (endpoint: Endpoint) => () => void,
): Promise<StreamListening> {
  const ends = new Set<FrameSocket>();
  const server = createServer((socket) => {
    prepare(socket);
    const end = new FrameSocket();
    ends.add(end);
    let leave: () => void = () => {};
    end.use(socket, () => {
      ends.delete(end);
      leave();
    });
    leave = join(end);
  });
  if ('path' in address) await listenAt(server, address.path);
  else await listenOnPort(server, address);
  let closed: Promise<void> | undefined;
  const bound = server.address();
  return {
    port: typeof bound === 'object' ? bound?.port : undefined,
    close() {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        for (const end of ends) end.disconnect();
      });
      return closed;
    },
  };
}

async function listenOnPort(
  server: ReturnType<typeof createServer>,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    const code = codeOf(cause);
    const inUse = code === 'EADDRINUSE';
    const message = inUse ? 'another program listens there; choose another port' : `nobody can listen there`;
    throw new HostError(inUse ? 'IN_USE' : 'IO_ERROR', `${host}:${port}: ${message} (${code})`, { cause });
  }
}

async function open(address: StreamAddress): Promise<Socket> {
  if ('path' in address && Buffer.byteLength(address.path) > longestSocketPath) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${address.path} is longer than ${longestSocketPath} bytes: choose a shorter path`,
    );
  }
  const socket = createConnection({ ...address });
  const place = 'path' in address ? address.path : `${address.host}:${address.port}`;
  try {
    await once(socket, 'connect');
  } catch (cause) {
    const code = codeOf(cause);
    if (code === 'ENOENT')
      throw new HostError('NOT_FOUND', `${place}: there is no such socket; start what listens there first`, {
        cause,
      });
    if (code === 'ECONNREFUSED')
      throw new HostError('CONNECTION_REFUSED', `${place}: nobody listens there; start it first`, { cause });
    throw new HostError('IO_ERROR', `${place} cannot be connected to (${code})`, { cause });
  }
  prepare(socket);
  return socket;
}

/** Frames are gathered here: the system need not wait for more. */
function prepare(socket: Socket): void {
  socket.setNoDelay(true);
}
