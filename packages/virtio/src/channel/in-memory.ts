import { HostError, UsageError } from '../errors.ts';
import { type Backing, maxViewLength } from '../memory/region.ts';
import type { Channel, ChannelListener } from './channel.ts';
import type { ChannelHost } from './channel-host.ts';
import type { ContentHost, Descriptor, DescriptorHost, MappedMemory } from './descriptors.ts';
import { closeAll } from './descriptors.ts';

interface Received {
  readonly bytes: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

/** What descriptors stand for: it lives as long as one of them is open, or it is mapped. */
interface Thing {
  readonly memory?: Required<Backing>;
  /** The end of a connection that nobody has opened yet. */
  channel?: Channel | undefined;
  signalled: boolean;
  readonly watchers: Set<() => void>;
  open: number;
  mapped: number;
}

class InMemoryDescriptor implements Descriptor {
  readonly thing: Thing;
  #closed = false;

  constructor(thing: Thing) {
    this.thing = thing;
    thing.open++;
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.thing.open--;
    if (this.thing.open > 0) return;
    this.thing.channel?.close();
    this.thing.channel = undefined;
  }
}

/** Descriptors within one process: for tests, and where there is no operating system, as in a page. */
export class InMemoryDescriptors implements DescriptorHost, ChannelHost, ContentHost {
  readonly #things = new Set<Thing>();
  /** Memory that was asked for its name. */
  readonly #names = new WeakMap<Thing, string>();
  #nextName = 0;

  /** Descriptors that are open. */
  get open(): number {
    return this.#count((thing) => thing.open);
  }

  /** Mappings that are not closed. */
  get mapped(): number {
    return this.#count((thing) => thing.mapped);
  }

  /** Watches that have not ended. */
  get watched(): number {
    return this.#count((thing) => thing.watchers.size);
  }

  createEvent(): Descriptor {
    return this.#made({});
  }

  createMemory(length: number): Descriptor {
    return this.lend({ buffer: new ArrayBuffer(length) });
  }

  /** A descriptor of memory that is there already. */
  lend({ buffer, byteOffset = 0, byteLength = buffer.byteLength - byteOffset }: Backing): Descriptor {
    return this.#made({ memory: { buffer, byteOffset, byteLength } });
  }

  signal(event: Descriptor): void {
    const { thing, closed } = known(event);
    if (closed || !isEvent(thing)) return;
    thing.signalled = true;
    afterThis(() => deliver(thing));
  }

  watch(event: Descriptor, happened: () => void): () => void {
    const { thing, closed } = known(event);
    if (closed || !isEvent(thing)) throw new HostError('IO_ERROR', 'the descriptor is no event');
    const watcher = (): void => happened();
    thing.watchers.add(watcher);
    afterThis(() => deliver(thing));
    return () => void thing.watchers.delete(watcher);
  }

  map(descriptor: Descriptor, offset: number, length: number): MappedMemory {
    const { thing, closed } = known(descriptor);
    const { memory } = thing;
    if (closed || memory === undefined) throw new HostError('IO_ERROR', 'the descriptor is no memory');
    if (offset + length > memory.byteLength) {
      throw new HostError(
        'IO_ERROR',
        `the memory has ${memory.byteLength} bytes, fewer than ${offset + length}`,
      );
    }
    const pieces = [];
    for (let at = 0; at < length; at += maxViewLength) {
      const byteLength = Math.min(maxViewLength, length - at);
      pieces.push({ buffer: memory.buffer, byteOffset: memory.byteOffset + offset + at, byteLength });
    }
    thing.mapped++;
    let open = true;
    return {
      pieces,
      close: () => {
        if (open) thing.mapped--;
        open = false;
      },
    };
  }

  identify(descriptor: Descriptor): string | undefined {
    const { thing, closed } = known(descriptor);
    if (closed || thing.memory === undefined) return undefined;
    const name = this.#names.get(thing) ?? String(this.#nextName++);
    this.#names.set(thing, name);
    return name;
  }

  duplicate(descriptor: Descriptor): Descriptor {
    const { thing, closed } = known(descriptor);
    if (closed) throw new HostError('IO_ERROR', 'the descriptor is closed');
    return new InMemoryDescriptor(thing);
  }

  readAt(descriptor: Descriptor, offset: number, target: Uint8Array): number {
    const bytes = contents(descriptor).subarray(offset, offset + target.length);
    target.set(bytes);
    return bytes.length;
  }

  writeAt(descriptor: Descriptor, offset: number, source: Uint8Array): void {
    const bytes = contents(descriptor);
    if (offset + source.length > bytes.length) {
      throw new HostError('IO_ERROR', `the memory has ${bytes.length} bytes, fewer than are written`);
    }
    bytes.set(source, offset);
  }

  openChannel(descriptor: Descriptor): Channel {
    const { thing, closed } = known(descriptor);
    const { channel } = thing;
    if (!closed) thing.channel = undefined;
    descriptor.close();
    if (closed || channel === undefined) throw new HostError('IO_ERROR', 'the descriptor is no connection');
    return channel;
  }

  createChannel(): { readonly channel: Channel; readonly other: Descriptor } {
    const [channel, other] = channelPair();
    return { channel, other: this.#made({ channel: other }) };
  }

  #made(of: Pick<Thing, 'memory' | 'channel'>): Descriptor {
    const thing: Thing = { ...of, signalled: false, watchers: new Set(), open: 0, mapped: 0 };
    this.#things.add(thing);
    return new InMemoryDescriptor(thing);
  }

  #count(of: (thing: Thing) => number): number {
    let sum = 0;
    for (const thing of this.#things) sum += of(thing);
    return sum;
  }
}

/** Both ends of a connection within one process. What is sent arrives after the sender's turn. */
export function channelPair(): [Channel, Channel] {
  const left = new InMemoryChannel();
  const right = new InMemoryChannel();
  left.join(right);
  right.join(left);
  return [left, right];
}

class InMemoryChannel implements Channel {
  #peer: InMemoryChannel | undefined;
  #listener: ChannelListener | undefined;
  readonly #waiting: Received[] = [];
  #closed = false;
  #ended = false;

  join(peer: InMemoryChannel): void {
    this.#peer = peer;
  }

  listen(listener: ChannelListener): void {
    if (this.#listener !== undefined) throw new UsageError('BAD_STATE', 'the channel has a listener already');
    this.#listener = listener;
    afterThis(() => this.#deliver());
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    if (this.#closed || this.#ended) return;
    const copies = descriptors.map((descriptor) => new InMemoryDescriptor(known(descriptor).thing));
    this.#peer?.arrive({ bytes: bytes.slice(), descriptors: copies });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#drop();
    this.#peer?.end();
  }

  /** What was sent is with the other end already. */
  abort(): void {
    this.close();
  }

  arrive(received: Received): void {
    if (this.#closed) {
      closeAll(received.descriptors);
      return;
    }
    this.#waiting.push(received);
    afterThis(() => this.#deliver());
  }

  end(): void {
    this.#ended = true;
    afterThis(() => this.#deliver());
  }

  #deliver(): void {
    if (this.#listener === undefined) return;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#listener.received(next.bytes, next.descriptors);
    }
    if (this.#ended && !this.#closed) {
      this.#closed = true;
      this.#listener.closed(undefined);
    }
  }

  #drop(): void {
    for (const received of this.#waiting.splice(0)) closeAll(received.descriptors);
  }
}

function contents(descriptor: Descriptor): Uint8Array {
  const { thing, closed } = known(descriptor);
  if (closed || thing.memory === undefined) throw new HostError('IO_ERROR', 'the descriptor is no memory');
  return new Uint8Array(thing.memory.buffer, thing.memory.byteOffset, thing.memory.byteLength);
}

function deliver(thing: Thing): void {
  if (!thing.signalled || thing.watchers.size === 0) return;
  thing.signalled = false;
  for (const watcher of thing.watchers) watcher();
}

function isEvent(thing: Thing): boolean {
  return !('memory' in thing || 'channel' in thing);
}

function known(descriptor: Descriptor): InMemoryDescriptor {
  if (descriptor instanceof InMemoryDescriptor) return descriptor;
  throw new UsageError('BAD_ARGUMENT', 'the descriptor is of another host');
}

/** After the caller's turn. */
function afterThis(task: () => void): void {
  void Promise.resolve().then(task);
}
