import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { lstat, rm } from 'node:fs/promises';
import { createConnection, type Server } from 'node:net';
import { dirname } from 'node:path';
import { HostError, UsageError } from 'virtio/errors';

/** Bytes of a path that fit the address of a socket on every system: Node.js cuts a longer one and goes on. */
export const longestSocketPath = 103;

/**
 * Has a server of Node's listen at a path. A socket that nobody listens at any more is replaced; anything else at the path
 * is left alone.
 *
 * @throws {HostError} IN_USE when somebody listens at the path, or something else is there; NOT_FOUND when its folder is
 *   not; IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export async function listenAt(
  server: Server,
  path: string,
  longest: number = longestSocketPath,
): Promise<void> {
  if (Buffer.byteLength(path) > longest) {
    throw new UsageError('BAD_ARGUMENT', `${path} is longer than ${longest} bytes: choose a shorter path`);
  }
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
    if (!existsSync(dirname(path))) {
      throw new HostError('NOT_FOUND', `${path}: there is no such folder`, { cause: error });
    }
    throw new HostError('IO_ERROR', `nobody can listen at ${path} (${codeOf(error)})`, { cause: error });
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

/** What the system calls an error of Node's. */
export const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;
