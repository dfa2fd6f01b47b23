import { seqFlag } from './spec.ts';
import type { Connection } from './spec-connection.ts';
import type { ReceivedMessage } from './spec-received.ts';

export type { ReceivedMessage } from './spec-received.ts';

/** What a connection of either kind is like, seen from this end. */
export abstract class VsockSocket {
  /** The connection behind it. */
  protected readonly connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** The port of this end. */
  get localPort(): number {
    return this.connection.localPort;
  }

  get peerPort(): number {
    return this.connection.peerPort;
  }

  /** The CID of the other end. */
  get peerCid(): number {
    return this.connection.peerCid;
  }

  /** Settles when the connection is over, in whatever way. What was received before can still be read. */
  get closed(): Promise<void> {
    return this.connection.over;
  }

  /** True while something that was received waits to be read: the next read settles at once. */
  get holds(): boolean {
    return this.connection.holds;
  }

  /** Sends nothing more: the other side comes to the end of what it reads. What was written before is sent. */
  end(): void {
    this.connection.end();
  }

  /**
   * Ends the connection cleanly: sends what was written, discards what was not read. Settles when the other side
   * has agreed.
   */
  close(): Promise<void> {
    this.connection.close();
    return this.connection.over;
  }

  /** Ends the connection at once; the other side hears of a reset. */
  reset(): void {
    this.connection.abort();
  }
}

/** A connection between stream sockets: bytes both ways. */
export class VsockStream extends VsockSocket {
  /**
   * Sends bytes. Settles when the other side has them in its buffers; they must not change until then. Whoever waits for
   * each write before the next is held back by a peer that does not read.
   *
   * @throws {HostError} CONNECTION_RESET when the other side receives no more.
   * @throws {UsageError} BAD_STATE behind `end` or `close`.
   */
  write(bytes: Uint8Array): Promise<void> {
    return this.connection.write(bytes, 0);
  }

  /**
   * The next bytes, as many as lie together; `undefined` at the end. The other side is held back, for each
   * connection by itself, while nobody reads.
   *
   * @throws {HostError} CONNECTION_RESET when the connection ended otherwise than by its peer's saying so.
   */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.connection.read();
  }

  /** All that comes, to the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    for (let bytes = await this.read(); bytes !== undefined; bytes = await this.read()) yield bytes;
  }
}

/** A connection between seqpacket sockets: messages both ways, each whole, and records of them. */
export class VsockSeqpacket extends VsockSocket {
  /**
   * Sends a message, as `write` of a stream sends bytes. `endOfRecord` marks it as the last of a record.
   *
   * @throws {UsageError} BAD_ARGUMENT for a message that is larger than the other side's buffer.
   * @throws {HostError} CONNECTION_RESET when the other side receives no more.
   */
  send(data: Uint8Array, endOfRecord = false): Promise<void> {
    return this.connection.write(data, endOfRecord ? seqFlag.EOM | seqFlag.EOR : seqFlag.EOM);
  }

  /**
   * The next message; `undefined` at the end.
   *
   * @throws {HostError} CONNECTION_RESET when the connection ended otherwise than by its peer's saying so.
   */
  receive(): Promise<ReceivedMessage | undefined> {
    return this.connection.readMessage();
  }

  /** All messages that come, to the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReceivedMessage, void, undefined> {
    for (let next = await this.receive(); next !== undefined; next = await this.receive()) yield next;
  }
}
