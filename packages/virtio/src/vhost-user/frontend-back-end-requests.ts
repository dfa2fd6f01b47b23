import type { Channel } from '../channel/channel.ts';
import type { VirtioError } from '../errors.ts';
import { MessageStream, type ReceivedMessage } from './message-stream.ts';
import { type BackEndMessageName, backEndMessages } from './messages.ts';

/** Who hears the back end's own requests. */
export interface BackEndRequestListener {
  configChange(): void;
  /** It broke the protocol. */
  broken(error: VirtioError): void;
}

/** The channel of the back end's own requests. */
export interface BackEndRequests {
  close(): void;
}

/**
 * Listens to what a back end asks for on its own. The change of the configuration is heard; all else takes features that
 * this front end does not negotiate, and is refused where an answer is wanted.
 */
export function hearBackEnd(channel: Channel, listener: BackEndRequestListener): BackEndRequests {
  const stream = new MessageStream(channel, backEndMessages, 'requests', {
    received: (message) => answer(message),
    closed(error) {
      if (error !== undefined) listener.broken(error);
    },
  });
  const answer = (message: ReceivedMessage): void => {
    // The stream knows no other names.
    const name = message.name as BackEndMessageName;
    const known = name === 'CONFIG_CHANGE_MSG';
    if (name === 'SHARED_OBJECT_LOOKUP') stream.reply(name, { u64: 1n });
    else if (message.needReply) stream.acknowledge(name, known);
    if (known) listener.configChange();
  };
  return stream;
}
