import type { Channel } from '../channel/channel.ts';
import { MessageStream } from './message-stream.ts';
import { backEndMessages } from './messages.ts';

/** The back end's own channel: what it asks of the front end. No answer is waited for. */
export class BackEndRequests {
  readonly #stream: MessageStream<typeof backEndMessages>;

  /** Takes the channel over. A front end that closes it hears nothing more, and that is all. */
  constructor(channel: Channel) {
    this.#stream = new MessageStream(channel, backEndMessages, 'replies', { received() {}, closed() {} });
  }

  /** The configuration is another one. */
  configChanged(): void {
    this.#stream.request('CONFIG_CHANGE_MSG', {});
  }

  close(): void {
    this.#stream.close();
  }
}
