import { UsageError } from '../../errors.ts';
import type { Connection, ConnectionUser } from './connection.ts';
import type { TcpAddress, TcpRequest, TcpStream } from './interface.ts';
import { Stream } from './stream.ts';

/** A peer asks for a connection. */
export class Request implements TcpRequest, ConnectionUser {
  onGone: (() => void) | undefined;
  readonly #connection: Connection;
  readonly #sendBuffer: number;
  #answered = false;

  constructor(connection: Connection, sendBuffer: number) {
    this.#connection = connection;
    this.#sendBuffer = sendBuffer;
    connection.user = this;
  }

  get local(): TcpAddress {
    return this.#connection.local;
  }

  get remote(): TcpAddress {
    return this.#connection.remote;
  }

  /** @throws {UsageError} BAD_STATE when it was answered before, or the peer has given up. */
  accept(): TcpStream {
    if (this.#answered || this.#connection.state !== 'REQUESTED') {
      throw new UsageError('BAD_STATE', 'nobody asks any more: see onGone');
    }
    this.#answered = true;
    const stream = new Stream(this.#connection, this.#sendBuffer);
    this.#connection.accept();
    return stream;
  }

  refuse(): void {
    if (!this.#answer()) return;
    this.#connection.owner.sendReset(this.#connection, 0, true);
    this.#connection.move('CLOSED');
  }

  drop(): void {
    if (this.#answer()) this.#connection.move('CLOSED');
  }

  #answer(): boolean {
    if (this.#answered || this.#connection.state !== 'REQUESTED') return false;
    this.#answered = true;
    return true;
  }

  /** @internal */
  readonly direct = false;

  /** @internal */
  data(): number {
    return 0;
  }

  /** @internal */
  arrived(): void {}

  /** @internal */
  acknowledged(): void {}

  /** @internal */
  established(): void {}

  /** @internal */
  over(): void {
    if (!this.#answered) this.onGone?.();
  }
}
