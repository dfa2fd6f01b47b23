import type { Channel } from '../channel/channel.ts';
import { HostError, type VirtioError } from '../errors.ts';
import type { FrontEndWindow } from './frontend-windows.ts';
import { MessageStream, type ReceivedMessage } from './message-stream.ts';
import { type BackEndMessageName, backEndMessages } from './messages.ts';
import { VhostUserMMap, vhost_vring_state } from './payloads.ts';
import type { InBandName } from './vring.ts';

/** Who hears the back end's own requests. */
export interface BackEndRequestListener {
  configChange(): void;
  /** A ring has used buffers, or is broken; false when no such message was agreed on, or there is no such ring. */
  notified(name: InBandName, index: number): boolean;
  /** A shared memory region of the device; `undefined` where there is none of that id, or none at all. */
  window(id: number): FrontEndWindow | undefined;
  /** It broke the protocol. */
  broken(error: VirtioError): void;
}

/** The channel of the back end's own requests. */
export interface BackEndRequests {
  close(): void;
}

/**
 * Listens to what a back end asks for on its own. The change of the configuration is heard, and what is mapped into shared
 * memory regions; all else takes features that this front end does not negotiate, and is refused where an answer is wanted.
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
    const isChange = name === 'CONFIG_CHANGE_MSG';
    const succeeded = isChange || isNotification(message) || shows(message);
    if (name === 'SHARED_OBJECT_LOOKUP') stream.reply(name, { u64: 1n });
    else if (message.needReply) stream.acknowledge(name, succeeded);
    if (isChange) listener.configChange();
  };
  const isNotification = (message: ReceivedMessage): boolean => {
    if (message.name !== 'VRING_CALL' && message.name !== 'VRING_ERR') return false;
    const { index, num } = message.read(vhost_vring_state);
    return num === 0 && listener.notified(message.name, index);
  };
  /** Maps or takes away what is to be, where that can be. */
  const shows = (message: ReceivedMessage): boolean => {
    if (message.name !== 'SHMEM_MAP' && message.name !== 'SHMEM_UNMAP') return false;
    const of = message.read(VhostUserMMap);
    const window = listener.window(of.shmid);
    if (window === undefined) return false;
    if (message.name === 'SHMEM_UNMAP') return window.unmap(of);
    const descriptor = message.take();
    try {
      return descriptor !== undefined && window.map(of, descriptor);
    } catch (error) {
      // A host that has no more descriptors is no mistake of the back end's.
      if (error instanceof HostError) return false;
      throw error;
    } finally {
      descriptor?.close();
    }
  };
  return stream;
}
