import type { Channel } from '../channel/channel.ts';
import type { ChannelHost } from '../channel/channel-host.ts';
import type { Descriptor, DescriptorHost } from '../channel/descriptors.ts';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import type { Device } from '../device/device.ts';
import type { VirtioError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { createDriverQueue } from '../virtqueue/create.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import type { DriverQueue } from '../virtqueue/queue.ts';
import { VhostUserBackend, type VhostUserBackendOptions } from './backend.ts';
import { MessageStream, type ReceivedMessage } from './message-stream.ts';
import { type FrontEndMessageName, frontEndMessages, type PayloadOf } from './messages.ts';
import { u64, vhost_vring_state } from './payloads.ts';
import {
  logAllBit,
  type ProtocolFeatureName,
  protocolFeatureBits,
  protocolFeaturesBit,
  vringDescriptor,
} from './protocol.ts';

/** Where the front end has guest memory: far above it. */
export const userBase = 0x7fff_0000_0000n;
const memorySize = 2 ** 20;

/** All that goes on in memory has its turn: it is microtasks, all of which come before this. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What a front end asks for besides a queue. */
export interface SetUp {
  /** Features beside VERSION_1, by bit. */
  readonly features?: readonly number[];
  readonly protocol?: readonly ProtocolFeatureName[];
  readonly packed?: boolean;
  readonly size?: number;
  /** The front end does not know protocol features: rings are enabled from the start. */
  readonly old?: boolean;
}

/** A front end made of messages alone, and the memory of a guest. */
export class RawFrontEnd {
  readonly host: InMemoryDescriptors;
  readonly stream: MessageStream<typeof frontEndMessages>;
  readonly memory: GuestMemory = new GuestMemory();
  readonly lent: Descriptor;
  readonly kick: Descriptor;
  readonly call: Descriptor;
  /** How often the driver was notified. */
  calls = 0;
  /** What came with replies. */
  readonly descriptors: Descriptor[] = [];
  over: VirtioError | 'quietly' | undefined;
  readonly #replies: ReceivedMessage[] = [];
  readonly #close: (() => void)[] = [];

  constructor(host: InMemoryDescriptors, channel: Channel) {
    this.host = host;
    this.lent = host.createMemory(memorySize);
    const mapping = host.map(this.lent, 0, memorySize);
    for (const piece of mapping.pieces) this.memory.addRegion(0, piece, { shared: true });
    this.kick = host.createEvent();
    this.call = host.createEvent();
    this.#close.push(
      host.watch(this.call, () => this.calls++),
      () => mapping.close(),
      () => this.lent.close(),
      () => this.kick.close(),
      () => this.call.close(),
    );
    this.stream = new MessageStream(channel, frontEndMessages, 'replies', {
      received: (message) => {
        this.#replies.push(message);
        for (let i = 0; i < message.descriptors; i++) this.descriptors.push(...asList(message.take(i)));
      },
      closed: (error) => {
        this.over = error ?? 'quietly';
      },
    });
  }

  /** What came in reply to a message sent with `stream.request`. */
  async reply(): Promise<ReceivedMessage | undefined> {
    await quiet();
    return this.#replies.shift();
  }

  async ask<N extends FrontEndMessageName>(
    name: N,
    value: Partial<PayloadOf<typeof frontEndMessages, N>> = {},
    descriptors: readonly Descriptor[] = [],
  ): Promise<ReceivedMessage> {
    this.stream.request(name, value, { descriptors });
    const reply = await this.reply();
    if (reply === undefined) throw new Error(`nothing answers ${name}: ${String(this.over)}`);
    return reply;
  }

  async askNumber(name: FrontEndMessageName): Promise<bigint> {
    return (await this.ask(name)).read(u64).u64;
  }

  /** The result of a message that is acknowledged. */
  async acknowledged<N extends FrontEndMessageName>(
    name: N,
    value: Partial<PayloadOf<typeof frontEndMessages, N>> = {},
    descriptors: readonly Descriptor[] = [],
  ): Promise<boolean> {
    this.stream.request(name, value, { descriptors, needReply: true });
    return (await this.reply())?.read(u64).u64 === 0n;
  }

  /** The feature bits of a set-up, as SET_FEATURES has them. */
  featureBits({ features = [], packed = false, old = false }: SetUp, logs = false): bigint {
    let bits = (1n << 32n) | (packed ? 1n << 34n : 0n) | (logs ? 1n << BigInt(logAllBit) : 0n);
    if (!old) bits |= 1n << BigInt(protocolFeaturesBit);
    for (const bit of features) bits |= 1n << BigInt(bit);
    return bits;
  }

  /** Everything that QEMU says before it starts a queue. */
  begin(setUp: SetUp = {}): void {
    const { stream } = this;
    stream.request('GET_FEATURES', {});
    if (setUp.old !== true) {
      stream.request('GET_PROTOCOL_FEATURES', {});
      stream.request('SET_PROTOCOL_FEATURES', { u64: protocolFeatureBits(setUp.protocol ?? []) });
    }
    stream.request('SET_OWNER', {});
    stream.request('SET_FEATURES', { u64: this.featureBits(setUp) });
    this.lend();
  }

  lend(): void {
    this.stream.request(
      'SET_MEM_TABLE',
      {
        nregions: 1,
        regions: [
          { guest_phys_addr: 0n, memory_size: BigInt(memorySize), userspace_addr: userBase, mmap_offset: 0n },
        ],
      },
      { descriptors: [this.lent] },
    );
  }

  /** Sets a queue up and starts it at a base, as QEMU does. */
  start(setUp: SetUp = {}, base = setUp.packed === true ? 0x8000_8000 : 0, index = 0): void {
    const { stream } = this;
    const { size, descriptor, driver, device } = this.areas(setUp);
    const user = (address: number): bigint => userBase + BigInt(address);
    stream.request('SET_VRING_NUM', { index, num: size });
    stream.request('SET_VRING_BASE', { index, num: base });
    stream.request('SET_VRING_ADDR', {
      index,
      flags: 0,
      desc_user_addr: user(descriptor),
      avail_user_addr: user(driver),
      used_user_addr: user(device),
      log_guest_addr: BigInt(device),
    });
    stream.request('SET_VRING_CALL', { u64: BigInt(index) }, { descriptors: [this.call] });
    stream.request('SET_VRING_KICK', { u64: BigInt(index) }, { descriptors: [this.kick] });
    if (setUp.old !== true) stream.request('SET_VRING_ENABLE', { index, num: 1 });
  }

  areas({ size = 8 }: SetUp): {
    readonly size: number;
    readonly descriptor: number;
    readonly driver: number;
    readonly device: number;
  } {
    return { size, descriptor: 0x1000, driver: 0x2000, device: 0x3000 };
  }

  /** Memory is as a driver that begins anew would have it. */
  clearRing(): void {
    this.memory.write(0x1000, new Uint8Array(0x3000));
  }

  /** The driver's end of the queue. */
  driver(setUp: SetUp = {}): RawDriver {
    const { packed = false } = setUp;
    const ring = { packed, eventIdx: false, indirect: false, inOrder: false, endian: 'little' } as const;
    return new RawDriver(this, createDriverQueue<number>(this.memory, this.areas(setUp), ring));
  }

  /** Where a queue would go on; it is stopped. */
  async stop(index = 0): Promise<number> {
    return (await this.ask('GET_VRING_BASE', { index })).read(vhost_vring_state).num;
  }

  withoutKick(index = 0): bigint {
    return BigInt(index) | vringDescriptor.NO_DESCRIPTOR;
  }

  close(): void {
    this.stream.close();
    for (const close of this.#close.splice(0)) close();
    for (const descriptor of this.descriptors) descriptor.close();
  }
}

function asList<T>(item: T | undefined): T[] {
  return item === undefined ? [] : [item];
}

/** A driver of requests of one byte, answered by another. */
export class RawDriver {
  readonly #front: RawFrontEnd;
  readonly queue: DriverQueue<number>;

  constructor(front: RawFrontEnd, queue: DriverQueue<number>) {
    this.#front = front;
    this.queue = queue;
  }

  /** Makes requests available; the back end hears of it where `kicks`. */
  offer(tokens: readonly number[], kicks = true): void {
    for (const token of tokens) {
      const address = this.#addressOf(token);
      this.#front.memory.write(address, Uint8Array.of(token, 0));
      this.queue.submit([{ address, length: 1 }], [{ address: address + 1, length: 1 }], token);
    }
    this.queue.publish();
    if (kicks) this.#front.host.signal(this.#front.kick);
  }

  /** What came back since, in that order. */
  answered(): { readonly token: number; readonly answer: number | undefined }[] {
    const answers = [];
    for (let used = this.queue.poll(); used !== undefined; used = this.queue.poll()) {
      const { token } = used;
      answers.push({ token, answer: this.#front.memory.read(this.#addressOf(token) + 1, 1)[0] });
    }
    if (this.queue.error !== undefined) throw this.queue.error;
    return answers;
  }

  #addressOf(token: number): number {
    return 0x10000 + 0x1000 * token;
  }
}

/** A back end over a new connection, and its front end. */
export function connect(
  device: Device,
  host: InMemoryDescriptors = new InMemoryDescriptors(),
  options: VhostUserBackendOptions & { readonly lends?: DescriptorHost & Partial<ChannelHost> } = {},
): { readonly host: InMemoryDescriptors; readonly front: RawFrontEnd; readonly backend: VhostUserBackend } {
  const [near, far] = channelPair();
  const backend = new VhostUserBackend(device, near, options.lends ?? host, { packedRing, ...options });
  return { host, front: new RawFrontEnd(host, far), backend };
}
