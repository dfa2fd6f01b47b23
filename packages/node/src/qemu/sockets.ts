import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';

/** A Unix socket that QEMU connects to, once: the other end of one of its character devices. */
export class AwaitedSocket {
  readonly path: string;
  /** Settles when QEMU has connected. */
  readonly connected: Promise<Socket>;
  readonly #server: Server;
  #giveUp: (error: HostError) => void = () => {};

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    this.connected = new Promise((resolve, reject) => {
      this.#giveUp = reject;
      server.once('connection', (socket) => {
        server.close();
        resolve(socket);
      });
    });
    this.connected.catch(() => {}); // whoever awaits it hears of it
  }

  /** @throws {HostError} IO_ERROR when there can be no such socket. */
  static listen(folder: string, name: string): Promise<AwaitedSocket> {
    const path = join(folder, name);
    const server = createServer({ pauseOnConnect: false });
    const awaited = new AwaitedSocket(path, server);
    return new Promise((resolve, reject) => {
      server.once('error', (cause) =>
        reject(new HostError('IO_ERROR', `cannot listen at ${path}`, { cause })),
      );
      server.listen(path, () => resolve(awaited));
    });
  }

  /** Nobody will connect any more. */
  close(error: HostError): void {
    this.#giveUp(error);
    this.#server.close();
  }
}
