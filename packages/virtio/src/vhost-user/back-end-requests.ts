import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { HostError, PeerError, type VirtioError } from '../errors.ts';
import { InBandNotifier } from './in-band.ts';
import { bad, MessageStream, type ReceivedMessage } from './message-stream.ts';
import { type BackEndMessageName, backEndMessages, type PayloadOf } from './messages.ts';
import { u64 } from './payloads.ts';
import type { InBandName } from './vring.ts';

interface Waiting {
  readonly name: BackEndMessageName;
  readonly answered: (succeeded: boolean) => void;
  readonly failed: (error: VirtioError) => void;
}

/** The back end's own channel: what it asks of the front end. */
export class BackEndRequests {
  readonly #stream: MessageStream<typeof backEndMessages>;
  readonly #acknowledged: boolean;
  readonly #waiting: Waiting[] = [];
  readonly #notifiers = new Map<string, InBandNotifier>();
  #over: VirtioError | undefined;

  /**
   * Takes the channel over. A front end that closes it hears nothing more, and that is all; one that breaks the protocol
   * on it is told of by `broken`. `acknowledged` where REPLY_ACK was negotiated.
   */
  constructor(channel: Channel, acknowledged: boolean, broken: (error: VirtioError) => void) {
    this.#acknowledged = acknowledged;
    this.#stream = new MessageStream(channel, backEndMessages, 'replies', {
      received: (message) => this.#received(message),
      closed: (error) => {
        this.#end(error ?? gone());
        if (error instanceof PeerError) broken(error);
      },
    });
  }

  /** The configuration is another one. No answer is waited for. */
  configChanged(): void {
    this.#stream.request('CONFIG_CHANGE_MSG', {});
  }

  /** Tells of a ring: that buffers of it were used, or that it is broken. */
  notify(name: InBandName, index: number): void {
    const key = `${name} ${index}`;
    const notifier = this.#notifiers.get(key) ?? new InBandNotifier(() => this.tell(name, { index, num: 0 }));
    this.#notifiers.set(key, notifier);
    notifier.notify();
  }

  /**
   * Asks for something that can fail. Without REPLY_ACK nobody tells whether it did.
   *
   * @throws {PeerError} COMMAND_FAILED when the front end says so.
   * @throws {HostError} DEVICE_GONE when it is not there any more.
   */
  async tell<N extends 'SHMEM_MAP' | 'SHMEM_UNMAP' | 'VRING_CALL' | 'VRING_ERR'>(
    name: N,
    payload: Partial<PayloadOf<typeof backEndMessages, N>>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<void> {
    if (this.#over !== undefined) throw this.#over;
    this.#stream.request(name, payload, { descriptors, needReply: this.#acknowledged });
    if (!this.#acknowledged) return;
    const succeeded = await new Promise<boolean>((answered, failed) => {
      this.#waiting.push({ name, answered, failed });
    });
    if (!succeeded) throw new PeerError('COMMAND_FAILED', `vhost-user: the front end refused ${name}`);
  }

  /** What still waits fails. */
  close(): void {
    this.#stream.abort();
    this.#end(gone());
  }

  #received(message: ReceivedMessage): void {
    const waiting = this.#waiting[0];
    if (waiting?.name !== message.name) throw bad(`${message.name} came as a reply to nothing`);
    this.#waiting.shift();
    waiting.answered(message.read(u64).u64 === 0n);
  }

  #end(error: VirtioError): void {
    this.#over ??= error;
    for (const { failed } of this.#waiting.splice(0)) failed(error);
  }
}

const gone = (): HostError => new HostError('DEVICE_GONE', 'vhost-user: the front end is gone');
