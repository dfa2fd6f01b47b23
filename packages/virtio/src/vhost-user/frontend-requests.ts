import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { HostError, PeerError, type VirtioError } from '../errors.ts';
import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import { bad, MessageStream, type ReceivedMessage } from './message-stream.ts';
import {
  type FrontEndMessageName,
  frontEndMessages,
  type MessageForm,
  type PayloadOf,
  type ReplyOf,
} from './messages.ts';
import { u64 } from './payloads.ts';

/** What a declared structure reads. */
export type StructValueOf<S> = S extends Struct<infer F extends Fields> ? StructValue<F> : never;

type Forms = typeof frontEndMessages;

/** Messages that are always answered. */
export type Question = {
  [N in FrontEndMessageName]: Forms[N] extends { readonly reply: unknown } ? N : never;
}[FrontEndMessageName];

/** Messages that are acknowledged at most. */
export type Statement = Exclude<FrontEndMessageName, Question>;

/** What answers a question. */
export interface Answer<N extends Question> {
  /** `undefined` where the back end says without a word that it failed. */
  readonly value: ReplyOf<Forms, N> | undefined;
  /** The same in bytes. */
  readonly payload: Uint8Array<ArrayBuffer>;
  /** The receiver's to close. */
  readonly descriptor: Descriptor | undefined;
}

/** Gives up on an answer that does not come: rejects when the time is over. Hosts that have a clock lend one. */
export type AnswerLimit = <T>(answer: Promise<T>) => Promise<T>;

interface Waiting {
  readonly name: FrontEndMessageName;
  readonly answered: (message: ReceivedMessage) => void;
  readonly failed: (error: VirtioError) => void;
}

/**
 * A front end's requests over one connection, answered in the order in which they were sent. Whatever breaks the
 * protocol ends the connection, and every request with it.
 */
export class FrontEndRequests {
  /** REPLY_ACK was negotiated: statements are acknowledged. */
  acknowledged = false;
  readonly #stream: MessageStream<Forms>;
  readonly #waiting: Waiting[] = [];
  readonly #limit: AnswerLimit;
  readonly #ended: (error: VirtioError) => void;
  #failure: VirtioError | undefined;

  /** `ended` hears once why the connection is over; not for an own `close`. */
  constructor(channel: Channel, limit: AnswerLimit | undefined, ended: (error: VirtioError) => void) {
    this.#limit = limit ?? ((answer) => answer);
    this.#ended = ended;
    this.#stream = new MessageStream(channel, frontEndMessages, 'replies', {
      received: (message) => this.#received(message),
      closed: (error) => this.#over(error ?? gone('the back end closed the connection')),
    });
  }

  /** Why nothing can be asked any more; `undefined` while the connection is there. */
  get failure(): VirtioError | undefined {
    return this.#failure;
  }

  /**
   * Asks what is always answered.
   *
   * @throws {PeerError} BAD_MESSAGE for an answer that is none.
   * @throws {HostError} DEVICE_GONE when the connection ended, or no answer came in time.
   */
  async ask<N extends Question>(
    name: N,
    payload: Partial<PayloadOf<Forms, N>>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<Answer<N>> {
    const { reply }: MessageForm = frontEndMessages[name];
    return this.#send(name, payload, descriptors, false, (message) => {
      const empty = reply === undefined || message.payload.length < reply.size;
      return {
        // The form of the message says what its reply is.
        value: empty ? undefined : (message.read(reply) as unknown as ReplyOf<Forms, N>),
        payload: message.payload,
        descriptor: message.take(),
      };
    });
  }

  /** One number of 64 bits, for those that answer with one. */
  async askNumber(
    name: 'GET_FEATURES' | 'GET_PROTOCOL_FEATURES' | 'GET_QUEUE_NUM' | 'GET_MAX_MEM_SLOTS' | 'GET_STATUS',
  ): Promise<bigint> {
    const { value } = await this.ask(name, {});
    return value?.u64 ?? 0n;
  }

  /**
   * Says what needs no answer. Where acknowledgements were negotiated it waits for one, else it is only sent.
   *
   * @throws {PeerError} COMMAND_FAILED when the back end says that it failed; the connection goes on.
   * @throws {HostError} DEVICE_GONE as for `ask`.
   */
  async tell<N extends Statement>(
    name: N,
    payload: Partial<PayloadOf<Forms, N>>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<void> {
    if (!this.acknowledged) {
      if (this.#failure !== undefined) throw this.#failure;
      this.#stream.request(name, payload, { descriptors });
      return;
    }
    const result = await this.#send(name, payload, descriptors, true, (message) => message.read(u64).u64);
    if (result !== 0n) throw new PeerError('COMMAND_FAILED', `vhost-user: the back end refused ${name}`);
  }

  /** The back end broke the protocol, or something beneath us failed: everything ends. */
  fail(error: VirtioError): void {
    this.#stream.fail(error);
  }

  /** Ends the connection; what still waits fails. */
  close(): void {
    this.#stream.close();
    this.#endAll(gone('the connection was closed'));
  }

  async #send<N extends FrontEndMessageName, T>(
    name: N,
    payload: Partial<PayloadOf<Forms, N>>,
    descriptors: readonly Descriptor[],
    needReply: boolean,
    read: (message: ReceivedMessage) => T,
  ): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    const answer = new Promise<T>((resolve, reject) => {
      this.#waiting.push({ name, answered: (message) => resolve(read(message)), failed: reject });
    });
    this.#stream.request(name, payload, { descriptors, needReply });
    try {
      return await this.#limit(answer);
    } catch (cause) {
      if (this.#failure !== undefined) throw this.#failure;
      const error = new HostError('DEVICE_GONE', `vhost-user: no answer to ${name}`, { cause });
      this.fail(error);
      throw error;
    }
  }

  #received(message: ReceivedMessage): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) throw bad(`${message.name} came as a reply to nothing`);
    if (waiting.name === message.name) waiting.answered(message);
    else {
      this.#waiting.unshift(waiting);
      throw bad(`${message.name} came as a reply to ${waiting.name}`);
    }
  }

  #over(error: VirtioError): void {
    if (this.#failure !== undefined) return;
    this.#endAll(error);
    this.#ended(error);
  }

  #endAll(error: VirtioError): void {
    this.#failure ??= error;
    for (const { failed } of this.#waiting.splice(0)) failed(error);
  }
}

/** The back end is not there any more. */
export function gone(why: string, cause?: unknown): HostError {
  return new HostError('DEVICE_GONE', `vhost-user: ${why}`, { cause });
}
