import { lstatSync, type Stats, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import type { Channel } from 'virtio/channel';
import { HostError } from 'virtio/errors';
import { type Poller, pollEvents } from '../ffi/system-calls.ts';
import { UnixChannel } from './channel.ts';
import { failure, interrupted, tryAgain } from './failure.ts';
import { FileDescriptor, stopBlocking } from './file-descriptor.ts';
import { linux, pollerFor } from './platform.ts';
import { AF_UNIX, isAbstract, type SocketAddress, socketAddress } from './socket-address.ts';

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const { EACCES, EADDRINUSE, ECONNABORTED, ECONNREFUSED, ENOENT, ENOTDIR, ENOTSOCK } = constants.errno;

const backlog = 128;
/** Connections that are taken before others have their turn. */
const mostAtOnce = 16;
/** Milliseconds until connections are taken again when none could be. */
const pause = 100;

/** A place where connections are taken. */
export interface Listening {
  /** True where there is one connection and will be no other: it was handed over connected. */
  readonly single: boolean;
  /** Takes no more, and removes the socket's file. Connections that were taken go on. Safe to call twice. */
  close(): void;
}

/**
 * Takes connections at a Unix socket: at a path, at an abstract name (`@name`), or at a descriptor that somebody
 * opened for this process, which it takes over. A descriptor that is connected already is the one connection there is.
 *
 * A socket's file that nobody listens at any more is replaced.
 *
 * @throws {HostError} IN_USE when somebody listens there, or something else has that name; NOT_FOUND when there is no
 *   such folder; IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export function listenUnix(at: string | number, onConnection: (channel: Channel) => void): Listening {
  if (typeof at === 'string') {
    const socket = bindTo(at);
    return new Listener(socket, onConnection, isAbstract(at) ? undefined : at);
  }
  const socket = adopted(at);
  if (isListening(socket)) return new Listener(socket, onConnection, undefined);
  const channel = new UnixChannel(socket);
  setImmediate(() => onConnection(channel));
  return { single: true, close() {} };
}

/**
 * Connects to whoever listens at a path or an abstract name (`@name`), or takes over a descriptor that is connected.
 *
 * @throws {HostError} NOT_FOUND when there is no such socket, IN_USE when its listener is behind with its connections,
 *   IO_ERROR when nobody listens there.
 * @throws {UsageError} BAD_ARGUMENT for a path that is too long.
 */
export function connectUnix(to: string | number): UnixChannel {
  if (typeof to === 'string') return new UnixChannel(connectTo(to));
  const socket = adopted(to);
  if (!isListening(socket)) return new UnixChannel(socket);
  socket.close();
  throw new HostError('IO_ERROR', `descriptor ${to} listens for connections, and is none`);
}

/** A listening socket in the event loop. */
class Listener implements Listening {
  readonly single = false;
  readonly #socket: FileDescriptor;
  readonly #onConnection: (channel: Channel) => void;
  readonly #poller: Poller;
  readonly #path: string | undefined;
  readonly #file: Stats | undefined;
  #pause: NodeJS.Timeout | undefined;

  constructor(
    socket: FileDescriptor,
    onConnection: (channel: Channel) => void,
    /** The file that goes with it. */
    path: string | undefined,
  ) {
    this.#socket = socket;
    this.#onConnection = onConnection;
    this.#path = path;
    this.#file = path === undefined ? undefined : fileAt(path);
    try {
      const result = linux().listen(socket.fd, backlog);
      if (result < 0) throw failure(result, `nobody can listen at ${path ?? `descriptor ${socket.fd}`}`);
      this.#poller = pollerFor(socket.fd, () => this.#accept());
    } catch (error) {
      this.#removeFile();
      socket.close();
      throw error;
    }
    this.#poller.start(pollEvents.READABLE);
  }

  close(): void {
    if (this.#socket.closed) return;
    clearTimeout(this.#pause);
    this.#poller.close();
    this.#removeFile();
    this.#socket.close();
  }

  #accept(): void {
    for (let turn = 0; turn < mostAtOnce && !this.#socket.closed; turn++) {
      const fd = linux().accept(this.#socket.fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd === tryAgain && turn > 0) return;
      // The failure of one connection, which is gone now, or a signal.
      if (fd === -ECONNABORTED || fd === interrupted) continue;
      const channel = fd < 0 ? undefined : watched(fd);
      if (channel === undefined) {
        this.#rest();
        return;
      }
      this.#onConnection(channel);
    }
  }

  /**
   * The loop would turn without end: the system is short of something, or the socket says that there is a connection where
   * there is none, which it goes on to do once somebody shut it down.
   */
  #rest(): void {
    this.#poller.stop();
    this.#pause ??= setTimeout(() => {
      this.#pause = undefined;
      this.#poller.start(pollEvents.READABLE);
    }, pause);
  }

  /** Not somebody else's, who took the place meanwhile. */
  #removeFile(): void {
    if (this.#path === undefined || this.#file === undefined) return;
    const now = fileAt(this.#path);
    if (now?.ino !== this.#file.ino || now.dev !== this.#file.dev) return;
    try {
      unlinkSync(this.#path);
    } catch {
      // Its folder may be closed to us by now. Who listens there next replaces the file.
    }
  }
}

/** A connection that was taken. One that cannot be waited for is closed. */
function watched(fd: number): UnixChannel | undefined {
  try {
    return new UnixChannel(new FileDescriptor(fd));
  } catch {
    return undefined;
  }
}

function newSocket(): FileDescriptor {
  const fd = linux().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failure(fd, 'the system gives no socket');
  return new FileDescriptor(fd, true);
}

function bindTo(path: string): FileDescriptor {
  const address = socketAddress(path);
  const socket = newSocket();
  let result = bind(socket, address);
  if (result === -EADDRINUSE) {
    try {
      removeStale(path, address);
    } catch (error) {
      socket.close();
      throw error;
    }
    result = bind(socket, address);
  }
  if (result >= 0) return socket;
  socket.close();
  throw failure(result, `nobody can listen at ${path}${bindHints[-result] ?? ''}`);
}

const bindHints: Readonly<Record<number, string>> = {
  [ENOENT]: ': there is no such folder; make it, or choose another path',
  [ENOTDIR]: ': a part of the path is no folder; choose another path',
  [EACCES]: ': this user may make no file there; choose another path',
};

function bind({ fd }: FileDescriptor, { bytes, length }: SocketAddress): number {
  return linux().bind(fd, bytes, length);
}

/** Removes the file of a socket whose listener is gone. @throws {HostError} IN_USE when something lives there. */
function removeStale(path: string, { bytes, length }: SocketAddress): void {
  if (!isAbstract(path) && fileAt(path)?.isSocket() === false) {
    throw new HostError('IN_USE', `${path} is there and is no socket: remove it, or choose another path`);
  }
  const probe = newSocket();
  const result = linux().connect(probe.fd, bytes, length);
  probe.close();
  if (result !== -ECONNREFUSED || isAbstract(path)) {
    throw new HostError(
      'IN_USE',
      `${path} is in use: a program listens there; end it, or choose another path`,
    );
  }
  unlinkSync(path);
}

function connectTo(path: string): FileDescriptor {
  const { bytes, length } = socketAddress(path);
  const socket = newSocket();
  const result = linux().connect(socket.fd, bytes, length);
  if (result >= 0) return socket;
  socket.close();
  if (result === tryAgain) {
    throw new HostError('IN_USE', `the program that listens at ${path} is busy: try again`);
  }
  throw failure(result, connectMistakes[-result]?.(path) ?? `there is no connection to ${path}`);
}

const connectMistakes: Readonly<Record<number, (path: string) => string>> = {
  [ECONNREFUSED]: (path) => `nobody listens at ${path}: start the program that should`,
  [ENOENT]: (path) => `there is no ${path}: check the path, or start the program that listens there`,
  [EACCES]: (path) => `${path} may not be connected to: become the user who may`,
};

/** A descriptor that this process was started with. */
function adopted(fd: number): FileDescriptor {
  const domain = linux().socketOption(fd, SOL_SOCKET, SO_DOMAIN);
  const type = linux().socketOption(fd, SOL_SOCKET, SO_TYPE);
  if (domain < 0 && domain !== -ENOTSOCK) throw failure(domain, `there is no descriptor ${fd}`);
  if (domain !== AF_UNIX || type !== SOCK_STREAM) {
    throw new HostError('IO_ERROR', `descriptor ${fd} is no Unix stream socket`);
  }
  stopBlocking(fd);
  return new FileDescriptor(fd, true);
}

function isListening({ fd }: FileDescriptor): boolean {
  return linux().socketOption(fd, SOL_SOCKET, SO_ACCEPTCONN) === 1;
}

function fileAt(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}
