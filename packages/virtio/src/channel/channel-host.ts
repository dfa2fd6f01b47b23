import type { Channel } from './channel.ts';
import type { Descriptor } from './descriptors.ts';

/** What a host can do with descriptors that are connections themselves: sockets, or ends of pipes. */
export interface ChannelHost {
  /**
   * A channel over a connection that came as a descriptor, which it takes over: closing the channel closes it. The end
   * of a pipe is a channel in one direction, without descriptors.
   *
   * @throws {HostError} IO_ERROR when the descriptor is no connection; it is closed all the same.
   */
  openChannel(descriptor: Descriptor): Channel;
  /**
   * A new connection: this end of it, and the other, to be handed to another process.
   *
   * @throws {HostError} IO_ERROR when the system gives none.
   */
  createChannel(): { readonly channel: Channel; readonly other: Descriptor };
}
