import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { closeAll } from '../channel/descriptors.ts';
import { MessageReader } from '../channel/message-reader.ts';
import { asVirtioError, HostError, PeerError, UsageError, type VirtioError } from '../errors.ts';
import { type Answer, Command, Refusal } from './command.ts';
import {
  type CommandForm,
  type CommandName,
  commandOf,
  commands,
  errno,
  errnoName,
  headerFlag,
  type Sender,
  vfio_user_header,
} from './messages.ts';

/** One end of a connection as what is above it sees it. */
export interface ConnectionListener {
  /**
   * Serves a command; those behind it wait until it is answered. A Refusal makes it fail; a PeerError ends the
   * connection; anything else thrown makes it fail with EIO.
   */
  command(command: Command): Answer | Promise<Answer>;
  /** A command failed, or nobody could tell its sender; the connection goes on. */
  refused(error: VirtioError): void;
  /** The connection is over: with a PeerError when the other side broke the protocol. Not called for an own `close`. */
  closed(error: VirtioError | undefined): void;
}

/** What one end can take. */
export interface ConnectionLimits {
  /** Data bytes in one message. */
  readonly maxTransfer: number;
  /** Descriptors with one message. */
  readonly maxDescriptors: number;
}

/** A reply to an own command; its descriptors are the receiver's to close. */
export interface Reply {
  readonly view: DataView;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly descriptors: readonly Descriptor[];
}

interface Waiting {
  readonly name: CommandName;
  readonly maxDescriptors: number;
  resolve(reply: Reply): void;
  reject(error: VirtioError): void;
}

/** A command that came. */
interface Received {
  readonly header: DataView;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly descriptors: readonly Descriptor[];
}

/** What may wait for one command to be done. */
const mostHeld = { commands: 256, bytes: 4 * 2 ** 20, descriptors: 256 };
/** What any message may have beside its data. */
const overhead = 4096;
/** Message ids. */
const ids = 2 ** 16;
const { msg_id, cmd, msg_size, flags: flagsField, error_no } = vfio_user_header.field;

/** Messages in both directions over a channel: commands of the other side are served in order, own ones answered by id. */
export class Connection {
  readonly #channel: Channel;
  readonly #other: Sender;
  readonly #limits: ConnectionLimits;
  readonly #listener: ConnectionListener;
  readonly #reader: MessageReader;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #closed = false;
  /** What ended it, if somebody did something wrong. */
  #reason: VirtioError | undefined;
  /** A command is being served, or none is until `start`; those that come wait. */
  #busy = true;
  readonly #held: Received[] = [];
  #heldBytes = 0;
  #heldDescriptors = 0;

  /** Takes the channel over; no command is served before `start`. `own` is the side that this end is of. */
  constructor(channel: Channel, own: Sender, limits: ConnectionLimits, listener: ConnectionListener) {
    this.#channel = channel;
    this.#other = own === 'server' ? 'client' : 'server';
    this.#limits = limits;
    this.#listener = listener;
    this.#reader = new MessageReader(
      {
        headerSize: vfio_user_header.size,
        lengthOf: (header) => this.#lengthOf(header),
      },
      {
        message: (bytes, descriptors) => this.#message(bytes, descriptors),
        broken: (why) => this.fail(badMessage(why)),
      },
    );
    channel.listen({
      received: (bytes, descriptors) => this.#reader.received(bytes, descriptors),
      closed: (error) =>
        this.#end(error === undefined ? undefined : asVirtioError(error, 'the vfio-user connection failed')),
    });
  }

  /** Serves commands from now on, those first that came before. */
  start(): void {
    this.#serveWaiting();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Own commands that were not answered yet. */
  get outstanding(): number {
    return this.#waiting.size;
  }

  /**
   * Sends a command and waits for its reply, which may bring at most `maxDescriptors`. Descriptors stay the caller's.
   *
   * @throws {HostError} IO_ERROR when the other side refuses, DEVICE_GONE when it is gone.
   * @throws {PeerError} BAD_MESSAGE when the reply is shorter than `least` bytes.
   */
  request(
    name: CommandName,
    payload: readonly Uint8Array[],
    options: {
      readonly descriptors?: readonly Descriptor[];
      readonly maxDescriptors?: number;
      readonly least?: number;
    } = {},
  ): Promise<Reply> {
    if (this.#closed) return Promise.reject(gone(this.#reason));
    const { descriptors = [], maxDescriptors = 0, least = 0 } = options;
    const id = this.#freeId();
    return new Promise<Reply>((resolve, reject) => {
      this.#send(id, commands[name].id, 0, 0, payload, descriptors);
      this.#waiting.set(id, { name, maxDescriptors, resolve, reject });
    }).then((reply) => {
      if (reply.view.byteLength >= least) return reply;
      closeAll(reply.descriptors);
      const error = badMessage(`the reply to ${name} has ${reply.view.byteLength} bytes, not ${least}`);
      this.fail(error);
      throw error;
    });
  }

  /** Sends a command that is not answered. */
  post(name: CommandName, payload: readonly Uint8Array[]): void {
    if (!this.#closed) {
      this.#send(this.#nextId, commands[name].id, headerFlag.NO_REPLY, 0, payload, []);
      this.#nextId = (this.#nextId + 1) % ids;
    }
  }

  /** Ends the connection and says why. */
  fail(error: VirtioError): void {
    this.#end(error);
  }

  /** Ends the connection. The listener hears nothing any more. Safe to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reader.stop();
    for (const { descriptors } of this.#held.splice(0)) closeAll(descriptors);
    this.#channel.close();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(gone(this.#reason));
  }

  #end(error: VirtioError | undefined): void {
    if (this.#closed) return;
    this.#reason = error;
    this.#channel.abort();
    this.close();
    this.#listener.closed(error);
  }

  #lengthOf(header: DataView): number | string {
    const size = msg_size.get(header);
    const most = vfio_user_header.size + overhead + this.#limits.maxTransfer;
    if (size < vfio_user_header.size) return `a message of ${size} bytes, fewer than its header`;
    return size > most ? `a message of ${size} bytes, where ${most} are the most` : size;
  }

  #message(bytes: Uint8Array<ArrayBuffer>, descriptors: readonly Descriptor[]): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    switch (flagsField.get(view) & headerFlag.TYPE) {
      case 0: {
        const received = { header: view, bytes, descriptors };
        if (this.#busy) this.#hold(received);
        else this.#serve(received);
        return;
      }
      case headerFlag.REPLY:
        this.#answered(view, bytes, descriptors);
        return;
      default:
        closeAll(descriptors);
        this.fail(badMessage(`a message with the flags 0x${flagsField.get(view).toString(16)}`));
    }
  }

  #serve({ header, bytes, descriptors }: Received): void {
    const [name, form] = commandOf(cmd.get(header)) ?? [undefined, undefined];
    const command = new Command(name ?? 'VERSION', bytes, descriptors);
    const failed = (thrown: unknown): void => {
      if (thrown instanceof PeerError) this.fail(thrown);
      else this.#finish(header, command, {}, this.#refused(name ?? 'a command', thrown));
      command.release();
    };
    try {
      if (form === undefined) throw new Refusal('ENOSYS', `there is no command ${cmd.get(header)}`);
      this.#check(command, form);
      const answer = this.#listener.command(command);
      if (!(answer instanceof Promise)) {
        this.#finish(header, command, answer, 0);
        return;
      }
      this.#busy = true;
      void answer
        .then((settled) => this.#finish(header, command, settled, 0), failed)
        .then(() => this.#serveWaiting());
    } catch (thrown) {
      failed(thrown);
    }
  }

  #finish(header: DataView, command: Command, answer: Answer, error: number): void {
    command.release();
    if (this.#closed || !command.wantsReply) return;
    const flags = headerFlag.REPLY | (error === 0 ? 0 : headerFlag.ERROR);
    this.#send(msg_id.get(header), cmd.get(header), flags, error, answer.payload, answer.descriptors);
  }

  /** A command waits for the one before it. */
  #hold(received: Received): void {
    this.#held.push(received);
    this.#heldBytes += received.bytes.length;
    this.#heldDescriptors += received.descriptors.length;
    const { commands: most, bytes, descriptors } = mostHeld;
    const isBounded = this.#heldBytes <= bytes && this.#heldDescriptors <= descriptors;
    if (this.#held.length <= most && isBounded) return;
    this.fail(badMessage('more commands wait than are taken before the first of them is done'));
  }

  #serveWaiting(): void {
    this.#busy = false;
    while (!this.#busy) {
      const next = this.#held.shift();
      if (next === undefined) return;
      this.#heldBytes -= next.bytes.length;
      this.#heldDescriptors -= next.descriptors.length;
      this.#serve(next);
    }
  }

  /** The shape of a command is sound before anybody looks into it. */
  #check(
    { name, length, descriptors }: Command,
    { from, least, open, descriptors: most = 0 }: CommandForm,
  ): void {
    if (from !== this.#other) throw new Refusal('EINVAL', `a ${this.#other} does not send ${name}`);
    if (length < least || (open !== true && length > least)) {
      throw new Refusal(
        'EINVAL',
        `${name} has ${length} bytes, not ${least}${open === true ? ' or more' : ''}`,
      );
    }
    const allowed = Math.min(most, this.#limits.maxDescriptors);
    if (descriptors > allowed) {
      throw new Refusal('EINVAL', `${name} came with ${descriptors} descriptors, not at most ${allowed}`);
    }
  }

  #refused(name: string, thrown: unknown): number {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (thrown instanceof Refusal) {
      this.#listener.refused(badMessage(`${name} was refused with ${thrown.errno}: ${why}`));
      return errno[thrown.errno];
    }
    this.#listener.refused(new HostError('IO_ERROR', `vfio-user: ${name} failed: ${why}`, { cause: thrown }));
    return errno.EIO;
  }

  #answered(header: DataView, bytes: Uint8Array<ArrayBuffer>, descriptors: readonly Descriptor[]): void {
    const id = msg_id.get(header);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || commands[waiting.name].id !== cmd.get(header)) {
      closeAll(descriptors);
      this.fail(
        badMessage(`a reply to command ${cmd.get(header)} with the id ${id}, which nobody waits for`),
      );
      return;
    }
    const { name, maxDescriptors } = waiting;
    if (descriptors.length > maxDescriptors) {
      closeAll(descriptors);
      this.fail(badMessage(`the reply to ${name} came with ${descriptors.length} descriptors`));
      return;
    }
    this.#waiting.delete(id);
    if ((flagsField.get(header) & headerFlag.ERROR) === 0) {
      const own = bytes.subarray(vfio_user_header.size);
      waiting.resolve({
        bytes: own,
        view: new DataView(own.buffer, own.byteOffset, own.byteLength),
        descriptors,
      });
      return;
    }
    closeAll(descriptors);
    waiting.reject(
      new HostError(
        'IO_ERROR',
        `the vfio-user ${this.#other} refused ${name}: ${errnoName(error_no.get(header))}`,
      ),
    );
  }

  #freeId(): number {
    if (this.#waiting.size === ids) {
      throw new UsageError('QUEUE_FULL', `${ids} commands wait for their replies already`);
    }
    while (this.#waiting.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % ids;
    const id = this.#nextId;
    this.#nextId = (id + 1) % ids;
    return id;
  }

  #send(
    id: number,
    command: number,
    flags: number,
    error: number,
    payload: readonly Uint8Array[] = [],
    descriptors: readonly Descriptor[] = [],
  ): void {
    let size = vfio_user_header.size;
    for (const { length } of payload) size += length;
    const message = new Uint8Array(size);
    const view = new DataView(message.buffer);
    msg_id.set(view, 0, id);
    cmd.set(view, 0, command);
    msg_size.set(view, 0, size);
    flagsField.set(view, 0, flags);
    error_no.set(view, 0, error);
    let at = vfio_user_header.size;
    for (const piece of payload) {
      message.set(piece, at);
      at += piece.length;
    }
    this.#channel.send(message, descriptors);
  }
}

/** @internal The other side broke the protocol. */
export function badMessage(why: string): PeerError {
  return new PeerError('BAD_MESSAGE', `vfio-user: ${why}`);
}

function gone(cause: VirtioError | undefined): HostError {
  const why = cause === undefined ? '' : `: ${cause.message}`;
  return new HostError('DEVICE_GONE', `the vfio-user connection is closed${why}`, { cause });
}
