import { constants, fstatSync, readSync, writeSync } from 'node:fs';
import type {
  Channel,
  ChannelHost,
  ContentHost,
  Descriptor,
  DescriptorHost,
  MappedMemory,
} from 'virtio/channel';
import { HostError } from 'virtio/errors';
import { pollEvents } from '../ffi/system-calls.ts';
import { UnixChannel } from './channel.ts';
import { failure, interrupted, tryAgain } from './failure.ts';
import { FileDescriptor, stopBlocking } from './file-descriptor.ts';
import { createMemory, keepSize, mapFile } from './memory.ts';
import { PipeChannel } from './pipe-channel.ts';
import { linux, pollerFor } from './platform.ts';
import { AF_UNIX } from './socket-address.ts';

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const F_GETFL = 3;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** What is added to an event's counter, in the machine's byte order. */
const one = new Uint8Array(new BigUint64Array([1n]).buffer);

/** How far those are trusted from whom descriptors come. */
export interface DescriptorOptions {
  /**
   * Map no memory that its owner could cut off, which would end this process with SIGBUS: files with a name, and memfds whose
   * maker forbade seals. False unless told, since some front ends have no other.
   */
  readonly onlySealed?: boolean;
}

/**
 * What Linux has for descriptors that came over a channel: shared memory, events and connections, in the event loop of
 * the thread that asks.
 */
export class NodeDescriptors implements DescriptorHost, ChannelHost, ContentHost {
  readonly #watches = new Map<FileDescriptor, Watch>();
  readonly #onlySealed: boolean;

  constructor({ onlySealed = false }: DescriptorOptions = {}) {
    this.#onlySealed = onlySealed;
  }

  /** Takes over a descriptor of this process, by its number. */
  adopt(fd: number): FileDescriptor {
    return new FileDescriptor(fd);
  }

  createEvent(): Descriptor {
    const fd = linux().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw failure(fd, 'the system gives no event');
    return new FileDescriptor(fd, true);
  }

  createMemory(length: number): Descriptor {
    return createMemory(length);
  }

  map(descriptor: Descriptor, offset: number, length: number): MappedMemory {
    const { fd, closed } = FileDescriptor.from(descriptor);
    if (closed) throw new HostError('IO_ERROR', 'the descriptor is no memory: it is closed');
    // First, so that the size that is looked at next is one that stays.
    if (!keepSize(fd) && this.#onlySealed) {
      throw new HostError(
        'IO_ERROR',
        'the memory may be cut off by its owner: share a memfd that allows seals',
      );
    }
    return mapFile(fd, offset, length);
  }

  identify(descriptor: Descriptor): string | undefined {
    const { fd, closed } = FileDescriptor.from(descriptor);
    if (closed) return undefined;
    const found = fstatSync(fd, { bigint: true });
    return found.isFile() ? `${found.dev}:${found.ino}` : undefined;
  }

  duplicate(descriptor: Descriptor): Descriptor {
    const copy = FileDescriptor.from(descriptor).duplicate();
    if (typeof copy === 'number') throw failure(copy, 'the system gives no descriptor');
    return copy;
  }

  readAt(descriptor: Descriptor, offset: number, target: Uint8Array): number {
    let done = 0;
    for (let count = -1; done < target.length && count !== 0; done += count) {
      count = transferred(() =>
        readSync(openFd(descriptor), target, done, target.length - done, offset + done),
      );
    }
    return done;
  }

  writeAt(descriptor: Descriptor, offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      done += transferred(() =>
        writeSync(openFd(descriptor), source, done, source.length - done, offset + done),
      );
    }
  }

  signal(event: Descriptor): void {
    const descriptor = FileDescriptor.from(event);
    // A counter that is full, or a pipe, has the signal in it already.
    if (descriptor.carriesEvents && !descriptor.closed) linux().write(descriptor.fd, one, one.length);
  }

  watch(event: Descriptor, happened: () => void): () => void {
    const descriptor = FileDescriptor.from(event);
    if (descriptor.closed || !descriptor.carriesEvents) {
      throw new HostError('IO_ERROR', 'the descriptor is no event');
    }
    let watch = this.#watches.get(descriptor);
    if (watch === undefined) {
      watch = new Watch(descriptor, () => this.#watches.delete(descriptor));
      this.#watches.set(descriptor, watch);
    }
    return watch.add(happened);
  }

  openChannel(descriptor: Descriptor): Channel {
    const own = FileDescriptor.from(descriptor);
    try {
      if (own.closed) throw new HostError('IO_ERROR', 'the descriptor is no connection: it is closed');
      const type = fstatSync(own.fd).mode & constants.S_IFMT;
      const isPipe = type === constants.S_IFIFO;
      // What was opened as a place alone is no connection either, and cannot be told anything.
      if ((!isPipe && type !== constants.S_IFSOCK) || !stopBlocking(own.fd)) {
        throw new HostError('IO_ERROR', 'the descriptor is no connection');
      }
      return isPipe ? pipeOf(own) : new UnixChannel(own);
    } catch (error) {
      own.close();
      throw error;
    }
  }

  createChannel(): { readonly channel: Channel; readonly other: Descriptor } {
    const ends = new Int32Array(2);
    const result = linux().socketPair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    if (result < 0) throw failure(result, 'the system gives no connection');
    const [near = -1, far = -1] = ends;
    const other = new FileDescriptor(far, true);
    try {
      return { channel: new UnixChannel(new FileDescriptor(near, true)), other };
    } catch (error) {
      other.close();
      throw error;
    }
  }
}

function openFd(descriptor: Descriptor): number {
  const { fd, closed } = FileDescriptor.from(descriptor);
  if (closed) throw new HostError('IO_ERROR', 'the descriptor is closed');
  return fd;
}

function transferred(task: () => number): number {
  try {
    return task();
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    throw new HostError('IO_ERROR', 'the memory cannot be read or written', { cause });
  }
}

/** Which end of a pipe it is, its mode tells. */
function pipeOf(descriptor: FileDescriptor): Channel {
  const mode = linux().fcntl(descriptor.fd, F_GETFL, 0) & 3;
  return new PipeChannel(descriptor, {
    readable: mode !== constants.O_WRONLY,
    writable: mode !== constants.O_RDONLY,
  });
}

/** Those who watch one event. */
class Watch {
  readonly #descriptor: FileDescriptor;
  readonly #listeners = new Set<{ readonly happened: () => void }>();
  readonly #end: () => void;
  #ended = false;

  constructor(descriptor: FileDescriptor, ended: () => void) {
    this.#descriptor = descriptor;
    const poller = pollerFor(descriptor.fd, (status) => this.#ready(status));
    const forget = descriptor.beforeClose(() => this.#end());
    this.#end = () => {
      if (this.#ended) return;
      this.#ended = true;
      poller.close();
      forget();
      ended();
    };
    const started = poller.start(pollEvents.READABLE);
    if (started >= 0) return;
    this.#end();
    throw failure(started, 'the event cannot be watched');
  }

  add(happened: () => void): () => void {
    const listener = { happened };
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#end();
    };
  }

  #ready(status: number): void {
    const count = linux().drain(this.#descriptor.fd);
    if (count === tryAgain || count === interrupted) return;
    // Its other end is gone, or it was none: it would be ready for ever, and nobody would learn anything by it.
    if (count <= 0 || status < 0) this.#end();
    if (count > 0) for (const { happened } of this.#listeners) happened();
  }
}
