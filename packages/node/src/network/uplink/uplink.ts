import { getServers } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { HostError } from 'virtio/errors';
import type { ListenOptions, Uplink } from 'virtio/network';
import { echo } from './echo.ts';
import { NodeDatagrams } from './node-datagrams.ts';
import { NodeStream } from './node-stream.ts';
import { query } from './queries.ts';

/** What an uplink over this machine's sockets can be told. */
export interface NodeUplinkOptions {
  /** The name servers that guests' queries go to, as `address` or `address:port`; the machine's own unless told. */
  readonly nameServers?: readonly string[] | undefined;
}

/**
 * The world as this machine reaches it, over its own sockets. Pings beyond the network itself are answered where this process
 * may ping: on Linux, as one of the groups of `net.ipv4.ping_group_range` or as root.
 */
export function nodeUplink(options: NodeUplinkOptions = {}): Uplink {
  /** All that is open, and how to end it. */
  const open = new Set<() => void>();
  const kept = (end: () => void): (() => void) => {
    open.add(end);
    return () => open.delete(end);
  };
  const keep = (stream: NodeStream): NodeStream => {
    stream.onceClosed(kept(() => stream.destroy()));
    return stream;
  };
  return {
    connect({ address, port }, user) {
      const stream = keep(NodeStream.connect(address, port));
      stream.tell(user);
      return stream;
    },
    datagrams(family, user) {
      const forget = { call: (): void => {} };
      const socket = new NodeDatagrams(family, user, () => forget.call());
      forget.call = kept(() => socket.close());
      return socket;
    },
    async listen(where, opened) {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
        const { remoteAddress = '', remotePort = 0 } = socket;
        const stream = keep(NodeStream.accepted(socket));
        const user = opened(stream, { address: remoteAddress.replace(/^::ffff:/, ''), port: remotePort });
        if (user === undefined) {
          stream.abort();
          return;
        }
        stream.tell(user);
      });
      await listening(server, where);
      const close = (): void => {
        server.close();
        forget();
      };
      const forget = kept(close);
      const own = server.address();
      const { address, port } = typeof own === 'object' && own !== null ? own : where;
      return { address, port, close };
    },
    async listenDatagrams(where, user) {
      const forget = { call: (): void => {} };
      const socket = new NodeDatagrams(where.address.includes(':') ? 6 : 4, user, () => forget.call());
      forget.call = kept(() => socket.close());
      try {
        return await socket.bind(where);
      } catch (error) {
        socket.close();
        throw taken(where, error);
      }
    },
    async lookup(name, family) {
      try {
        return (await lookup(name, { family, all: true })).map(({ address }) => address);
      } catch {
        return [];
      }
    },
    query: (message, { large }) => query(options.nameServers ?? getServers(), message, large),
    async echo(address, payload) {
      const { answered, end } = echo(address, payload);
      const forget = kept(end);
      const isThere = await answered;
      forget();
      return isThere;
    },
    close() {
      for (const end of [...open]) end();
      open.clear();
    },
  };
}

async function listening(server: Server, where: ListenOptions): Promise<void> {
  const ready = once(server, 'listening');
  server.listen({ host: where.address, port: where.port });
  try {
    await ready;
  } catch (error) {
    throw taken(where, error);
  }
}

function taken({ address, port }: ListenOptions, cause: unknown): HostError {
  const inUse = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
  const message = `nothing can listen at ${address}, port ${port}${inUse ? ', as somebody does already' : ''}`;
  return new HostError(inUse ? 'IN_USE' : 'IO_ERROR', message, { cause });
}
