import type { Descriptor } from './descriptors.ts';

/** Who hears what comes over a channel. */
export interface ChannelListener {
  /**
   * Some bytes of the stream, cut anywhere, and the descriptors that came with them, which are the listener's to close.
   * The bytes are the listener's until it returns.
   */
  received(bytes: Uint8Array, descriptors: readonly Descriptor[]): void;
  /** Nothing comes any more: the other end is gone, or `error` says what broke. Not called for an own `close`. */
  closed(error: Error | undefined): void;
}

/**
 * One end of a connection that carries a stream of bytes, in order, and descriptors between them: a Unix socket where
 * there is one. A protocol above it does no input or output of its own.
 */
export interface Channel {
  /** Starts the flow; what came before waits. One listener for the life of the channel. */
  listen(listener: ChannelListener): void;
  /**
   * Sends bytes, and descriptors with the first of them. Both are taken over before it returns, and the descriptors stay
   * the caller's to close. Does nothing once the channel is closed; a failure reaches the listener as `closed`.
   */
  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void;
  /** Ends the connection behind what was sent, whenever the other end takes that. Safe to call twice. */
  close(): void;
  /** Ends it at once, also after `close`: what the other end has not taken is dropped. Safe to call twice. */
  abort(): void;
}
