import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { lstat, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { VsockDevice, VsockRequest } from 'virtio/devices/vsock';
import { HostError, UsageError } from 'virtio/errors';
import { join } from './join.ts';

/** The longest first line of a connection: `CONNECT`, a port, and the end of the line. */
const longestLine = 32;

/**
 * The longest path, in bytes, so that it fits the address of a socket on every system with the number of a port behind
 * it: Node.js cuts a longer one and goes on.
 */
const longestPath = 92;

/** Ports of a guest and its host as Unix sockets. */
export interface UnixPorts {
  /** Takes no more connections and ends those that there are; the socket's file is removed. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Maps the ports of a socket device onto Unix sockets, by the convention of Firecracker and its kin. Whoever connects to
 * `path` and writes `CONNECT 1234` and a line feed is connected to port 1234 of the guest, and hears `OK` and the port
 * of the host's end; where nobody listens the connection is closed. A connection of the guest's to port 1234, for which
 * the program itself does not listen, goes to the Unix socket `path_1234`; it is refused where there is none.
 *
 * These are stream sockets: requests for seqpacket ones are refused.
 *
 * @throws {HostError} IN_USE when somebody listens at the path; NOT_FOUND when its folder is not there; IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export async function openUnixPorts(device: VsockDevice, path: string): Promise<UnixPorts> {
  if (Buffer.byteLength(path) > longestPath) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${path} is longer than ${longestPath} bytes: choose a shorter path`,
    );
  }
  const sockets = new Set<Socket>();
  const own = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // Whoever reads or writes hears of it; without a listener it would end the process.
    socket.on('error', () => {});
  };
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    own(socket);
    void toGuest(device, socket);
  });
  await listen(server, path);
  device.onRequest = (request) => toHost(request, `${path}_${request.port}`, own);
  let closed: Promise<void> | undefined;
  return {
    close() {
      closed ??= new Promise((resolve) => {
        device.onRequest = undefined;
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      return closed;
    },
  };
}

/** A connection of somebody's on this machine, who says first which port of the guest's is meant. */
async function toGuest(device: VsockDevice, socket: Socket): Promise<void> {
  try {
    const port = portOf(await firstLine(socket));
    if (port === undefined) throw new HostError('IO_ERROR', 'the first line is no CONNECT and a port');
    const stream = await device.connect(port);
    if (socket.destroyed) {
      stream.reset();
      return;
    }
    socket.write(`OK ${stream.localPort}\n`);
    await join(socket, stream);
  } catch {
    socket.destroy();
  }
}

/** A connection of the guest's. It is accepted when the other one is there. */
async function toHost(request: VsockRequest, path: string, own: (socket: Socket) => void): Promise<void> {
  if (request.kind !== 'stream') {
    request.refuse();
    return;
  }
  const socket = createConnection({ path, allowHalfOpen: true });
  own(socket);
  try {
    await once(socket, 'connect');
  } catch {
    request.refuse();
    return;
  }
  await join(socket, request.accept());
}

/** What stands before the first line feed; what stands behind it is left to be read. */
async function firstLine(socket: Socket): Promise<string> {
  let line = Buffer.alloc(0);
  for (;;) {
    const end = line.indexOf('\n');
    if (end !== -1) {
      if (end + 1 < line.length) socket.unshift(line.subarray(end + 1));
      return line.toString('latin1', 0, end);
    }
    if (line.length >= longestLine || socket.readableEnded || socket.destroyed) return '';
    const bytes: Buffer | null = socket.read();
    if (bytes === null)
      await Promise.race([once(socket, 'readable'), once(socket, 'end'), once(socket, 'close')]);
    else line = Buffer.concat([line, bytes]);
  }
}

function portOf(line: string): number | undefined {
  const digits = /^CONNECT (\d{1,10})\r?$/i.exec(line)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

async function listen(server: Server, path: string): Promise<void> {
  const attempt = (): Promise<unknown> => {
    server.listen(path);
    return once(server, 'listening');
  };
  try {
    await attempt().catch(async (error: unknown) => {
      if (codeOf(error) !== 'EADDRINUSE') throw error;
      // The file of a socket whose listener is gone stays behind.
      await removeStale(path);
      await attempt();
    });
  } catch (error) {
    if (error instanceof HostError) throw error;
    const code = codeOf(error);
    if (!existsSync(dirname(path))) {
      throw new HostError('NOT_FOUND', `${path}: there is no such folder`, { cause: error });
    }
    throw new HostError('IO_ERROR', `nobody can listen at ${path} (${code})`, { cause: error });
  }
}

/** @throws {HostError} IN_USE when something lives there. */
async function removeStale(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket()) {
    throw new HostError('IN_USE', `${path} is there and is no socket: remove it, or choose another path`);
  }
  const probe = createConnection(path);
  try {
    await once(probe, 'connect');
  } catch (error) {
    if (codeOf(error) === 'ECONNREFUSED') return rm(path);
    throw error;
  } finally {
    probe.destroy();
  }
  throw new HostError('IN_USE', `${path} is in use: a program listens there; end it, or choose another path`);
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;
