import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { MessageReader } from '../channel/message-reader.ts';
import { asVirtioError, PeerError, type VirtioError } from '../errors.ts';
import { encodeFor, guestView } from '../spec/guest-endian.ts';
import { hostEndian } from '../spec/host-endian.ts';
import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import {
  type MessageForm,
  type MessageForms,
  type PayloadOf,
  payloadBounds,
  type ReplyOf,
  replyBounds,
} from './messages.ts';
import { u64, VhostUserHeader } from './payloads.ts';
import { messageFlags, protocolVersion } from './protocol.ts';

/** What is said of an error that is none of ours. */
const connectionFailed = 'the connection failed';

/** What waits while a message is being worked on: bytes and descriptors, then the peer is cut off. */
const mostWaiting = { bytes: 64 * 1024, descriptors: 256 };

/** One message of the peer. Good until its handler has returned, or what it returned has settled. */
export class ReceivedMessage {
  readonly name: string;
  readonly form: MessageForm;
  /** A request whose sender wants an acknowledgement. */
  readonly needReply: boolean;
  /** A copy. */
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly #descriptors: (Descriptor | undefined)[];

  constructor(
    name: string,
    form: MessageForm,
    needReply: boolean,
    payload: Uint8Array<ArrayBuffer>,
    descriptors: readonly Descriptor[],
  ) {
    this.name = name;
    this.form = form;
    this.needReply = needReply;
    this.payload = payload;
    this.#descriptors = [...descriptors];
  }

  /** How many descriptors came with it. */
  get descriptors(): number {
    return this.#descriptors.length;
  }

  /** The descriptor at a place, which is the caller's to close from here on. What nobody takes is closed. */
  take(index = 0): Descriptor | undefined {
    const descriptor = this.#descriptors[index];
    this.#descriptors[index] = undefined;
    return descriptor;
  }

  /** What the payload holds. Its size is among those that the message may have. */
  read<F extends Fields>(layout: Struct<F>): StructValue<F> {
    return layout.read(guestView(this.payload, hostEndian));
  }

  /** @internal */
  release(): void {
    for (const descriptor of this.#descriptors) descriptor?.close();
    this.#descriptors.fill(undefined);
  }
}

/** Who hears the messages of a stream. */
export interface MessageListener {
  /**
   * One message at a time: the next comes when this has returned, or what it returned has settled. What it throws
   * ends the connection. The end of the connection does not wait for it.
   */
  received(message: ReceivedMessage): void | Promise<void>;
  /**
   * The connection is over, for the reason given if there is one: a PeerError where the peer broke the protocol. Not
   * called for an own `close`.
   */
  closed(error: VirtioError | undefined): void;
}

/**
 * The messages of one connection. One side of it sends requests and the other replies; a back end's own channel is a
 * second stream with the sides changed. Whatever does not keep to the form of its message ends the connection, and
 * every descriptor that came with it is closed.
 */
export class MessageStream<F extends MessageForms> {
  readonly #channel: Channel;
  readonly #forms: F;
  readonly #byId: ReadonlyMap<number, string>;
  readonly #incoming: 'requests' | 'replies';
  readonly #listener: MessageListener;
  readonly #waiting: ReceivedMessage[] = [];
  #waitingBytes = 0;
  #waitingDescriptors = 0;
  readonly #reader: MessageReader;
  #busy = false;
  #closed = false;

  /** Takes the channel over. `incoming` says what the peer sends: the requests of `forms`, or the replies to them. */
  constructor(channel: Channel, forms: F, incoming: 'requests' | 'replies', listener: MessageListener) {
    this.#channel = channel;
    this.#forms = forms;
    this.#byId = new Map(Object.entries(forms).map(([name, form]) => [form.id, name]));
    this.#incoming = incoming;
    this.#listener = listener;
    this.#reader = new MessageReader(
      { headerSize: VhostUserHeader.size, lengthOf: (header) => this.#lengthOf(header) },
      {
        message: (bytes, descriptors) => this.#queue(bytes, descriptors),
        broken: (why) => this.fail(bad(why)),
      },
    );
    channel.listen({
      received: (bytes, descriptors) => this.#reader.received(bytes, descriptors),
      closed: (error) => this.#end(error && asVirtioError(error, connectionFailed)),
    });
  }

  /** True when no message comes or goes any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Sends a request. `needReply` asks for an acknowledgement, which takes REPLY_ACK. Descriptors stay the caller's. */
  request<N extends keyof F & string>(
    name: N,
    value: Partial<PayloadOf<F, N>>,
    options: { readonly descriptors?: readonly Descriptor[]; readonly needReply?: boolean } = {},
  ): void {
    const { id, payload } = this.#form(name);
    const flags = options.needReply === true ? messageFlags.NEED_REPLY : 0;
    this.#send(id, flags, encodeFor(hostEndian, payload, value), options.descriptors);
  }

  /** Answers a request with what its form has for that. */
  reply<N extends keyof F & string>(
    name: N,
    value: Partial<ReplyOf<F, N>>,
    descriptors?: readonly Descriptor[],
  ): void {
    const { id, reply } = this.#form(name);
    this.#send(id, messageFlags.REPLY, encodeFor(hostEndian, reply ?? u64, value), descriptors);
  }

  /** Answers a request with a reply that holds nothing: it failed. */
  replyNothing(name: keyof F & string): void {
    this.#send(this.#form(name).id, messageFlags.REPLY, new Uint8Array(0));
  }

  /** Answers a request that has no reply of its own: 0, or 1 when it failed. */
  acknowledge(name: keyof F & string, succeeded: boolean): void {
    const { id } = this.#form(name);
    this.#send(id, messageFlags.REPLY, encodeFor(hostEndian, u64, { u64: succeeded ? 0n : 1n }));
  }

  /** Ends the connection, and tells why; the listener's `closed` is called. Does nothing when it is over. */
  fail(error: VirtioError): void {
    this.#over(error);
  }

  /** Ends the connection behind what was sent. The listener hears nothing any more. Safe to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#channel.close();
    for (const message of this.#waiting.splice(0)) message.release();
    this.#reader.stop();
  }

  /** Ends it likewise, and drops what the peer has not taken: it may never read that. */
  abort(): void {
    this.#channel.abort();
    this.close();
  }

  #over(error: VirtioError | undefined): void {
    if (this.#closed) return;
    this.abort();
    this.#listener.closed(error);
  }

  #form(name: string): MessageForm {
    // A name of the forms is all that callers can pass.
    return this.#forms[name] as MessageForm;
  }

  #send(request: number, flags: number, payload: Uint8Array, descriptors?: readonly Descriptor[]): void {
    if (this.#closed) return;
    const message = new Uint8Array(VhostUserHeader.size + payload.length);
    const header = { request, flags: flags | protocolVersion, size: payload.length };
    VhostUserHeader.write(guestView(message, hostEndian), 0, header);
    message.set(payload, VhostUserHeader.size);
    this.#channel.send(message, descriptors);
  }

  /** Bytes of a message, header and all, or what is wrong with it. */
  #lengthOf(header: ArrayBufferView): number | string {
    const { request, flags, size } = VhostUserHeader.read(guestView(header, hostEndian));
    const name = this.#byId.get(request);
    if (name === undefined) return `there is no message ${request}`;
    const version = flags & messageFlags.VERSION_MASK;
    if (version !== protocolVersion) return `${name} is of version ${version}, not ${protocolVersion}`;
    const isReply = (flags & messageFlags.REPLY) !== 0;
    if (isReply !== (this.#incoming === 'replies')) {
      return `${name} came as a ${isReply ? 'reply where a request' : 'request where a reply'} was due`;
    }
    const form = this.#form(name);
    const [fewest, most] = isReply ? replyBounds(form) : payloadBounds(form);
    const tellsOfFailure = isReply && size === 0 && form.emptyReplyOnFailure === true;
    if ((size < fewest || size > most) && !tellsOfFailure) {
      return `${name} has ${size} bytes of payload, not ${range(fewest, most)}`;
    }
    return VhostUserHeader.size + size;
  }

  #queue(bytes: Uint8Array<ArrayBuffer>, descriptors: readonly Descriptor[]): void {
    const { request, flags } = VhostUserHeader.read(guestView(bytes, hostEndian));
    // The header was looked at before, and found to be of a message.
    const name = this.#byId.get(request) as string;
    const form = this.#form(name);
    const [fewest, most] = (this.#incoming === 'replies' ? form.replyDescriptors : form.descriptors) ?? [
      0, 0,
    ];
    const needReply = (flags & messageFlags.NEED_REPLY) !== 0;
    const payload = bytes.subarray(VhostUserHeader.size);
    this.#waiting.push(new ReceivedMessage(name, form, needReply, payload, descriptors));
    this.#waitingBytes += bytes.length;
    this.#waitingDescriptors += descriptors.length;
    if (descriptors.length < fewest || descriptors.length > most) {
      this.fail(bad(`${name} came with ${descriptors.length} descriptors, not ${range(fewest, most)}`));
    } else if (this.#waitingBytes > mostWaiting.bytes || this.#waitingDescriptors > mostWaiting.descriptors) {
      this.fail(bad('more messages wait than are taken before the first of them is done'));
    } else {
      this.#work();
    }
  }

  /** Hands out what waits, one message at a time. */
  #work(): void {
    while (!this.#busy && !this.#closed) {
      const message = this.#waiting.shift();
      if (message === undefined) break;
      this.#waitingBytes -= VhostUserHeader.size + message.payload.length;
      this.#waitingDescriptors -= message.descriptors;
      const settled = this.#handle(message);
      if (settled === undefined) continue;
      this.#busy = true;
      void settled.then(() => {
        this.#busy = false;
        this.#work();
      });
    }
  }

  #handle(message: ReceivedMessage): Promise<void> | undefined {
    let settled: void | Promise<void>;
    try {
      settled = this.#listener.received(message);
    } catch (error) {
      message.release();
      this.fail(asVirtioError(error, connectionFailed));
      return undefined;
    }
    if (settled === undefined) {
      message.release();
      return undefined;
    }
    return settled
      .catch((error: unknown) => this.fail(asVirtioError(error, connectionFailed)))
      .finally(() => message.release());
  }

  /** The peer is gone. What is being worked on may never be done, and who could hear that it is done is not there any more. */
  #end(error: VirtioError | undefined): void {
    const broken = this.#reader.isWithinMessage ? bad('it ended in the middle of a message') : undefined;
    this.#over(error ?? broken);
  }
}

const range = (fewest: number, most: number): string =>
  fewest === most ? `${fewest}` : `${fewest} to ${most}`;

/** @internal The peer broke the protocol. */
export function bad(message: string): PeerError {
  return new PeerError('BAD_MESSAGE', `vhost-user: ${message}`);
}
