import { type Channel, type ChannelListener, type Descriptor, mostDescriptors } from 'virtio/channel';
import { HostError, UsageError } from 'virtio/errors';
import { type Poller, pollEvents } from '../ffi/system-calls.ts';
import { failure, interrupted, isGone, tryAgain } from './failure.ts';
import { FileDescriptor } from './file-descriptor.ts';
import { messageLength, receiveMessage, sendMessage } from './messages.ts';
import { linux, pollerFor } from './platform.ts';

const SOL_SOCKET = 1;
/** Its value begins with the number of a process. */
const SO_PEERCRED = 17;

/** Messages that are taken from one connection before others have their turn. */
const mostAtOnce = 16;
/** More than a socket holds, so that everything from before the end is heard and a peer that goes on is not. */
const mostAtTheEnd = 256;
/** What waits for a peer that does not read, in bytes, messages and descriptors, before the connection is given up. */
const mostBytesWaiting = 64 * 2 ** 20;
const mostMessagesWaiting = 64 * 2 ** 10;
const mostDescriptorsWaiting = 1024;

const none: readonly FileDescriptor[] = Object.freeze([]);

/** What the socket did not take yet. */
interface Waiting {
  readonly bytes: Uint8Array;
  /** Copies of the sender's. */
  readonly descriptors: readonly FileDescriptor[];
}

/** One end of a Unix stream socket in the event loop. */
export class UnixChannel implements Channel {
  readonly #socket: FileDescriptor;
  readonly #poller: Poller;
  #listener: ChannelListener | undefined;
  /** Nobody wants to hear anything any more; what waits still goes out. */
  #closed = false;
  /** Sending failed: what came before is still heard, then this. */
  #broken: { readonly error: Error | undefined } | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #waitingDescriptors = 0;
  /** Bytes of the first of those that wait which have gone. */
  #gone = 0;

  /** Takes over a connected socket that does not block. @throws {HostError} IO_ERROR, having closed it. */
  constructor(socket: FileDescriptor) {
    this.#socket = socket;
    try {
      this.#poller = pollerFor(socket.fd, (status, events) => this.#ready(status, events));
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** The process at the other end, by its number: the one that listened, or that connected. */
  get peer(): number | undefined {
    const pid = linux().socketOption(this.#socket.fd, SOL_SOCKET, SO_PEERCRED);
    return pid > 0 ? pid : undefined;
  }

  listen(listener: ChannelListener): void {
    if (this.#listener !== undefined) throw new UsageError('BAD_STATE', 'the channel has a listener already');
    this.#listener = listener;
    if (this.#broken === undefined) this.#watch();
    else this.#finishLater();
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = none): void {
    checkSent(bytes, descriptors);
    if (this.#closed || this.#broken !== undefined || bytes.length === 0) return;
    const own = descriptors.length === 0 ? none : descriptors.map(openDescriptor);
    let sent = 0;
    if (this.#waiting.length === 0) sent = this.#sendNow(bytes, own);
    // What waits behind the first byte has its descriptors behind it.
    if (sent >= 0 && sent < bytes.length) this.#queue(bytes.slice(sent), sent > 0 ? none : own);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#waiting.length === 0 || this.#broken !== undefined) this.#release();
    else this.#watch();
  }

  abort(): void {
    this.#closed = true;
    this.#release();
  }

  #watch(): void {
    if (this.#socket.closed || this.#broken !== undefined) return;
    const reads = this.#listener !== undefined && !this.#closed ? pollEvents.READABLE : 0;
    const writes = this.#waiting.length > 0 ? pollEvents.WRITABLE : 0;
    if ((reads | writes) === 0) this.#poller.stop();
    else this.#poller.start(reads | writes);
  }

  #ready(status: number, events: number): void {
    // The loop stops watching a socket with an error; reading tells which, behind what came before it.
    if (status < 0) {
      this.#break(undefined);
      return;
    }
    if ((events & pollEvents.WRITABLE) !== 0) this.#flush();
    if ((events & pollEvents.READABLE) === 0 || this.#closed) return;
    const end = this.#receive(mostAtOnce);
    if (end !== undefined) this.#end(end);
  }

  /** Takes messages as long as there are some. Gives the end of the stream, once it is there. */
  #receive(most: number): { readonly error: Error | undefined } | undefined {
    for (let turn = 0; turn < most && !this.#closed && this.#listener !== undefined; turn++) {
      const { count, bytes, fds, truncated } = receiveMessage(this.#socket.fd);
      if (count === interrupted) continue;
      if (count === tryAgain) return undefined;
      if (count === 0 || isGone(count)) return { error: undefined };
      if (count < 0) return { error: failure(count, 'the connection cannot be read') };
      const descriptors = fds.length === 0 ? none : fds.map((fd) => new FileDescriptor(fd));
      if (truncated) {
        for (const descriptor of descriptors) descriptor.close();
        const message = 'descriptors that the peer sent are lost: this process may have too many open';
        return { error: new HostError('IO_ERROR', message) };
      }
      this.#listener.received(bytes, descriptors);
      if (count < messageLength && fds.length === 0) return undefined;
    }
    return undefined;
  }

  /** How many bytes the socket took; -1 when it is broken. */
  #sendNow(bytes: Uint8Array, descriptors: readonly FileDescriptor[]): number {
    let sent = 0;
    while (sent < bytes.length) {
      const fds = sent === 0 && descriptors.length > 0 ? descriptors.map(({ fd }) => fd) : [];
      const result = sendMessage(this.#socket.fd, bytes, sent, fds);
      if (result === tryAgain) break;
      if (result === interrupted) continue;
      if (result < 0) {
        this.#break(isGone(result) ? undefined : failure(result, 'the connection cannot be written'));
        return -1;
      }
      sent += result;
    }
    return sent;
  }

  #queue(bytes: Uint8Array, descriptors: readonly FileDescriptor[]): void {
    const copies: FileDescriptor[] = [];
    this.#waiting.push({ bytes, descriptors: copies });
    this.#waitingBytes += bytes.length;
    this.#waitingDescriptors += descriptors.length;
    const tooMuch = this.#waitingBytes > mostBytesWaiting || this.#waiting.length > mostMessagesWaiting;
    if (tooMuch || this.#waitingDescriptors > mostDescriptorsWaiting) {
      const message = `the peer does not read: ${this.#waiting.length} messages wait, of ${this.#waitingBytes} bytes and ${this.#waitingDescriptors} descriptors`;
      this.#break(new HostError('IO_ERROR', message));
      return;
    }
    for (const descriptor of descriptors) {
      const copy = descriptor.duplicate();
      if (typeof copy === 'number') {
        this.#break(failure(copy, 'a descriptor cannot be kept for sending'));
        return;
      }
      copies.push(copy);
    }
    this.#watch();
  }

  /** Sends what waits, as far as the socket takes it. */
  #flush(): void {
    let done = 0;
    for (const { bytes, descriptors } of this.#waiting) {
      const rest = this.#gone === 0 ? bytes : bytes.subarray(this.#gone);
      const sent = this.#sendNow(rest, this.#gone === 0 ? descriptors : none);
      if (sent < 0) return;
      this.#waitingBytes -= sent;
      if (sent > 0) this.#letGo(descriptors);
      if (sent < rest.length) {
        this.#gone += sent;
        break;
      }
      this.#gone = 0;
      done++;
    }
    this.#waiting.splice(0, done);
    if (this.#waiting.length > 0) return;
    if (this.#closed) this.#release();
    else this.#watch();
  }

  /** Closes copies of descriptors that have gone, or never will. */
  #letGo(descriptors: readonly FileDescriptor[]): void {
    for (const descriptor of descriptors) {
      if (!descriptor.closed) this.#waitingDescriptors--;
      descriptor.close();
    }
  }

  /** Nothing can be sent any more. The listener is not called from within `send`, and hears the rest before. */
  #break(error: Error | undefined): void {
    this.#broken = { error };
    this.#dropWaiting();
    if (this.#closed) this.#release();
    else {
      this.#poller.stop();
      this.#finishLater();
    }
  }

  #finishLater(): void {
    if (this.#listener === undefined) return;
    setImmediate(() => this.#end(this.#receive(mostAtTheEnd) ?? this.#broken));
  }

  #end(end: { readonly error: Error | undefined } | undefined): void {
    if (this.#closed) {
      this.#release();
      return;
    }
    this.#closed = true;
    this.#release();
    this.#listener?.closed(this.#broken?.error ?? end?.error);
  }

  #dropWaiting(): void {
    for (const { descriptors } of this.#waiting.splice(0)) this.#letGo(descriptors);
    this.#waitingBytes = 0;
    this.#waitingDescriptors = 0;
    this.#gone = 0;
  }

  #release(): void {
    this.#dropWaiting();
    if (this.#socket.closed) return;
    this.#poller.close();
    this.#socket.close();
  }
}

function checkSent(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
  if (descriptors.length > mostDescriptors) {
    const message = `${descriptors.length} descriptors are more than go at once, ${mostDescriptors}`;
    throw new UsageError('BAD_ARGUMENT', message);
  }
  if (descriptors.length > 0 && bytes.length === 0) {
    throw new UsageError('BAD_ARGUMENT', 'descriptors go with a byte at least');
  }
}

function openDescriptor(descriptor: Descriptor): FileDescriptor {
  const own = FileDescriptor.from(descriptor);
  if (own.closed) throw new UsageError('BAD_ARGUMENT', 'the descriptor is closed');
  return own;
}
