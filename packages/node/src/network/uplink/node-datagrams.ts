import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { DatagramSocket, DatagramUser, ListenOptions, UplinkListener } from 'virtio/network';
import { failureReason } from './failure-reason.ts';

/** Bytes that wait in a socket, beyond which more is dropped. */
const mostQueued = 512 * 1024;
/** Datagrams that wait for a socket that is not there yet. */
const mostEarly = 64;

/** A socket of UDP. */
export class NodeDatagrams implements DatagramSocket {
  readonly #socket: Socket;
  #bound = false;
  #early = 0;
  #closed = false;
  readonly #user: DatagramUser;

  constructor(family: 4 | 6, user: DatagramUser, onClose: () => void) {
    this.#user = user;
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      // There are addresses alone, so that nothing has to be looked up, nor waited for.
      lookup: (address, _options, done) => done(null, address, family),
    });
    this.#socket = socket;
    socket.on('message', (bytes: Uint8Array, { address, port }: RemoteInfo) => {
      if (!this.#closed) user.received(bytes, address, port);
    });
    // Whoever sends hears of it.
    socket.on('error', () => {});
    socket.once('listening', () => {
      this.#bound = true;
    });
    socket.once('close', onClose);
  }

  /** Takes an address and a port of its own, before it is used. */
  async bind({ address, port }: ListenOptions): Promise<UplinkListener & DatagramSocket> {
    const listening = once(this.#socket, 'listening');
    this.#socket.bind({ address, port, exclusive: true });
    await listening;
    const own = this.#socket.address();
    return {
      address: own.address,
      port: own.port,
      send: (bytes, to, toPort) => this.send(bytes, to, toPort),
      close: () => this.close(),
    };
  }

  send(bytes: Uint8Array, address: string, port: number): boolean {
    if (this.#closed || port === 0) return false;
    if (this.#bound ? this.#socket.getSendQueueSize() > mostQueued : ++this.#early > mostEarly) return false;
    // The kernel may take it later, and it is lent.
    this.#socket.send(bytes.slice(), port, address, (error) => {
      if (error !== null && !this.#closed) this.#user.failed(failureReason(error), address, port);
    });
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}
