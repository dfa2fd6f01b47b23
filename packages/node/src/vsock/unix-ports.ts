import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import type { VsockDevice, VsockRequest } from 'virtio/devices/vsock';
import { HostError } from 'virtio/errors';
import { listenAt } from '../host/listen-at.ts';
import { join } from './join.ts';

/** The longest first line of a connection: `CONNECT`, a port, and the end of the line. */
const longestLine = 32;

/**
 * The longest path, in bytes, so that it fits the address of a socket on every system with the number of a port behind
 * it.
 */
const longestPath = 92;

/** How ports are mapped. */
export interface UnixPortsOptions {
  /**
   * Where the ports of other guests are, by their CIDs: the paths that were given for their devices, in this process or in
   * another, or that another program has by the same convention.
   */
  readonly siblings?: ReadonlyMap<number, string>;
}

/** Ports of a guest and its host as Unix sockets. */
export interface UnixPorts {
  /** Takes no more connections and ends those that there are; the socket's file is removed. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Maps the ports of a socket device onto Unix sockets, by the convention of Firecracker and its kin. Whoever connects to
 * `path` and writes `CONNECT 1234` and a line feed is connected to port 1234 of the guest, and hears `OK` and the port
 * of the host's end; where nobody listens the connection is closed. A connection of the guest's to port 1234, for which
 * the program itself does not listen, goes to the Unix socket `path_1234`; it is refused where there is none. One to a
 * sibling goes to that one's path, as anybody's on this machine would, so that the sibling sees it come from its host.
 *
 * These are stream sockets: requests for seqpacket ones are refused.
 *
 * @throws {HostError} IN_USE when somebody listens at the path; NOT_FOUND when its folder is not there; IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export async function openUnixPorts(
  device: VsockDevice,
  path: string,
  options: UnixPortsOptions = {},
): Promise<UnixPorts> {
  const { siblings } = options;
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
  await listenAt(server, path, longestPath);
  device.onRequest = (request) => pass(request, `${path}_${request.port}`, own, async () => {});
  if (siblings !== undefined) {
    device.onSiblingRequest = async (request) => {
      const sibling = siblings.get(request.cid);
      if (sibling === undefined) request.refuse();
      else await pass(request, sibling, own, (socket) => askFor(request.port, socket));
    };
  }
  let closed: Promise<void> | undefined;
  return {
    close() {
      closed ??= new Promise((resolve) => {
        device.onRequest = undefined;
        if (siblings !== undefined) device.onSiblingRequest = undefined;
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

/** A connection of the guest's. It is accepted when the other one is there, and ready. */
async function pass(
  request: VsockRequest,
  path: string,
  own: (socket: Socket) => void,
  ready: (socket: Socket) => Promise<void>,
): Promise<void> {
  if (request.kind !== 'stream') {
    request.refuse();
    return;
  }
  const socket = createConnection({ path, allowHalfOpen: true });
  own(socket);
  try {
    await once(socket, 'connect');
    await ready(socket);
  } catch {
    socket.destroy();
    request.refuse();
    return;
  }
  await join(socket, request.accept());
}

/** Has itself connected to a port, and waits until it is. */
async function askFor(port: number, socket: Socket): Promise<void> {
  socket.write(`CONNECT ${port}\n`);
  if (!/^OK \d+$/.test(await firstLine(socket))) throw new HostError('CONNECTION_REFUSED', 'nobody listens');
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
