/** Front ends that break the rules, against the process of `virtio serve`. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { Descriptor } from 'virtio/channel';
import { type OpenDevice, type OpenQueue, open } from 'virtio/driver';
import type { DeviceType } from 'virtio/spec';
import { attackSkip, driverAttacks, type Fixture, launch, TransportProxy } from 'virtio/testing';
import {
  frontEndMessages,
  type MessageForm,
  MessageStream,
  type PayloadOf,
  type ProtocolFeatureName,
  protocolFeatureBits,
  protocolFeatureNames,
  type ReceivedMessage,
  u64,
  VhostUserHeader,
  type VhostUserTransport,
} from 'virtio/vhost-user';
import { cacheFolder } from 'virtio-node/guests';
import { connectUnix, NodeDescriptors } from 'virtio-node/host';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { expect, vi } from 'vitest';
import { CommandRun } from './cli-command.ts';

/** Milliseconds: far more than anything here takes on a slow machine. */
const patience = 120_000;

/** Numbers and bytes by chance, the same ones in each run. */
export class Chance {
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  below(most: number): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#seed / 2 ** 32) * most);
  }

  of<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error('there is nothing to choose from');
    return value;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** A command that serves a device at a socket, and its well-behaved front ends. */
export class ServedProcess {
  readonly fixture: Fixture;
  readonly socket: string;
  readonly #args: () => readonly string[];
  readonly #use: (transport: VhostUserTransport) => Promise<void>;
  #command: CommandRun | undefined;
  /** What the process holds on to between two connections. */
  #kept = { descriptors: 0, mappings: 0 };

  /**
   * @param args of `virtio serve`, beside the type and the socket
   * @param use does what a well-behaved front end does, and rejects when it is not served
   */
  constructor(
    fixture: Fixture,
    socket: string,
    args: () => readonly string[],
    use: (transport: VhostUserTransport) => Promise<void>,
  ) {
    this.fixture = fixture;
    this.socket = socket;
    this.#args = args;
    this.#use = use;
  }

  get command(): CommandRun {
    if (this.#command === undefined) throw new Error('the command does not run');
    return this.#command;
  }

  async start(): Promise<void> {
    const args = ['serve', this.fixture.name, '--socket-path', this.socket, ...this.#args()];
    this.#command = new CommandRun(args, cacheFolder());
    await this.#command.reports('Ctrl-C ends it');
    const { mappings } = this.#held();
    await this.serves();
    await vi.waitFor(() => expect(this.#held().mappings).toBe(mappings), patience);
    // What is loaded at the first use stays.
    this.#kept = this.#held();
  }

  connect(): Promise<VhostUserTransport> {
    const options = { deviceId: this.fixture.type.id, memory: 2 ** 22, timeout: patience };
    return connectVhostUser(this.socket, options);
  }

  /** A front end that keeps the rules is served. */
  async serves(): Promise<void> {
    const transport = await this.connect();
    try {
      await this.#use(transport);
    } finally {
      await transport.close();
    }
  }

  /** Does what the process must outlive, and give back all that it was given. */
  async outlives(deed: () => Promise<void>): Promise<void> {
    await deed();
    await this.serves();
    await vi.waitFor(() => {
      const { descriptors, mappings } = this.#held();
      expect(mappings).toBe(this.#kept.mappings);
      expect(descriptors).toBeLessThanOrEqual(this.#kept.descriptors);
    }, patience);
    this.#kept = this.#held();
  }

  /** What the process has open, and what it has mapped of others' memory. */
  #held(): { readonly descriptors: number; readonly mappings: number } {
    const { pid } = this.command;
    return {
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      mappings: readFileSync(`/proc/${pid}/maps`, 'utf8').split('/memfd:').length,
    };
  }
}

/** A front end that has reached the device, and its queues that it does with as it likes. */
export async function raw<T extends DeviceType>(
  served: ServedProcess,
  type: T,
  options: Parameters<typeof open<T>>[2],
  deed: (opened: OpenDevice<T>) => Promise<void>,
): Promise<void> {
  const transport = await served.connect();
  try {
    await deed(await open(transport, type, options));
  } finally {
    await transport.close();
  }
}

/** Offers what breaks its queue; the front end hears that it is broken. */
export async function breaks<T extends DeviceType>(
  served: ServedProcess,
  type: T,
  options: Parameters<typeof open<T>>[2],
  queue: (opened: OpenDevice<T>) => OpenQueue,
  readable: Uint8Array,
  room: number,
): Promise<void> {
  await raw(served, type, options, async (opened) => {
    await expect(queue(opened).request(readable, room)).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
  });
}

/** Where the back end is reached by a socket: each turn of a raw driver asks it something, and so has it have its turn. */
class Paced extends TransportProxy {
  readonly #real: VhostUserTransport;

  constructor(real: VhostUserTransport) {
    super(real);
    this.#real = real;
  }

  override async readStatus(): Promise<number> {
    await this.#real.session.requests.askNumber('GET_FEATURES');
    return super.readStatus();
  }
}

/** Rings that no driver may make, split and packed. */
export async function brokenRings(served: ServedProcess): Promise<void> {
  const failures: string[] = [];
  let launched = 0;
  for (const packed of [false, true]) {
    const transport = await served.connect();
    const configuration = {
      ...{ bus: 'vhost-user', packed, eventIdx: packed, indirect: packed, inOrder: false },
    };
    const { type, probe } = served.fixture;
    const target = { transport: new Paced(transport), type, probe, configuration };
    for (const attack of driverAttacks(transport.memory)) {
      // A back end answers a set-up that cannot be by going away, as the messages below have it.
      if (attack.onSetUp === true || attackSkip(attack, configuration) !== undefined) continue;
      launched++;
      await launch(attack, target).catch((error: unknown) => {
        failures.push(`${attack.name}: ${error instanceof Error ? error.message : String(error)}`);
      });
    }
    await transport.close();
  }
  expect(failures).toEqual([]);
  expect(launched).toBeGreaterThan(50);
}

/** Messages that are none, and connections that break off in the midst of one. */
export async function brokenMessages(served: ServedProcess): Promise<void> {
  const chance = new Chance(served.fixture.type.id);
  const header = (request: number, flags: number, size: number): Uint8Array =>
    VhostUserHeader.encode({ request, flags, size });
  const message = (request: number, payload: Uint8Array): Uint8Array =>
    Buffer.concat([header(request, 1, payload.length), payload]);
  const texts = [
    new Uint8Array(),
    header(1, 1, 0).subarray(0, 5),
    header(1, 1, 0xffff_ffff),
    header(0, 1, 0),
    header(1, 3, 0),
    header(1, 5, 0),
    header(2, 1, 8),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    // Memory and events without their descriptors.
    message(5, new Uint8Array(40).fill(1)),
    message(12, new Uint8Array(8)),
    message(8, new Uint8Array(8).fill(0xff)),
    message(9, new Uint8Array(40).fill(0xff)),
    ...Array.from({ length: 60 }, (_, request) => message(request, chance.bytes(chance.of([0, 8, 40, 16])))),
    ...Array.from({ length: 20 }, () => chance.bytes(chance.below(300))),
  ];
  for (const text of texts) {
    const socket = createConnection({ path: served.socket });
    socket.on('error', () => {});
    // Some are answered: nobody reads it.
    socket.resume();
    socket.end(text);
    await once(socket, 'close');
  }
}

/** Front ends that go away with their rings live, and requests in them. */
export async function dyingSockets(served: ServedProcess): Promise<void> {
  const { type, probe } = served.fixture;
  for (let i = 0; i < 10; i++) {
    const transport = await served.connect();
    const opened = await open(transport, type, { features: [] });
    const queue = opened.queue(probe.queue);
    for (let n = 0; n < i; n++) queue.request(probe.readable, probe.writable).catch(() => {});
    transport.session.close();
    await transport.close();
  }
}

type Forms = typeof frontEndMessages;

/** A front end that says what it likes, and is answered. */
class Talk {
  readonly host: NodeDescriptors = new NodeDescriptors();
  readonly #stream: MessageStream<Forms>;
  readonly #answers: ((message: ReceivedMessage | undefined) => void)[] = [];
  #over = false;

  constructor(path: string) {
    this.#stream = new MessageStream(connectUnix(path), frontEndMessages, 'replies', {
      received: (message) => this.#answers.shift()?.(message),
      closed: () => {
        this.#over = true;
        for (const answered of this.#answers.splice(0)) answered(undefined);
      },
    });
  }

  /** What a message was answered with, if only by an acknowledgement; `undefined` when the connection ended instead. */
  ask<N extends keyof Forms & string>(
    name: N,
    value: Partial<PayloadOf<Forms, N>> = {},
    descriptors: readonly Descriptor[] = [],
  ): Promise<ReceivedMessage | undefined> {
    if (this.#over) return Promise.resolve(undefined);
    const { reply }: MessageForm = frontEndMessages[name];
    this.#stream.request(name, value, { descriptors, needReply: reply === undefined });
    return new Promise((answered) => this.#answers.push(answered));
  }

  /** The number that a message was answered with. */
  async number<N extends keyof Forms & string>(
    name: N,
    value: Partial<PayloadOf<Forms, N>> = {},
    descriptors: readonly Descriptor[] = [],
  ): Promise<bigint | undefined> {
    return (await this.ask(name, value, descriptors))?.read(u64).u64;
  }

  /** Accepts what is offered of the protocol. */
  async begin(): Promise<ReadonlySet<ProtocolFeatureName>> {
    const { names } = protocolFeatureNames((await this.number('GET_PROTOCOL_FEATURES')) ?? 0n);
    this.#stream.request('SET_PROTOCOL_FEATURES', { u64: protocolFeatureBits(names) });
    expect(await this.number('SET_FEATURES', { u64: (1n << 30n) | (1n << 32n) })).toBe(0n);
    return new Set(names);
  }

  close(): void {
    this.#stream.close();
  }
}

const userBase = 2n ** 46n;
/** A region of guest memory from address 0 on, and from the beginning of its descriptor. */
const regionOf = (bytes: number) => ({
  guest_phys_addr: 0n,
  memory_size: BigInt(bytes),
  userspace_addr: userBase,
  mmap_offset: 0n,
});

/**
 * Messages that are well formed, and ask for what cannot be, or what never ends. `kept` gets what the peer holds on to, for
 * the caller to close.
 */
export async function unreasonableMessages(served: ServedProcess, kept: { close(): void }[]): Promise<void> {
  const talk = async (
    deed: (talk: Talk, protocol: ReadonlySet<ProtocolFeatureName>, lent: Descriptor) => Promise<void>,
  ): Promise<void> => {
    const one = new Talk(served.socket);
    const lent = one.host.createMemory(2 ** 20);
    try {
      await deed(one, await one.begin(), lent);
    } finally {
      one.close();
      lent.close();
    }
  };

  await talk(async (front, protocol, lent) => {
    // A sparse file costs whoever made it nothing, and whoever maps it minutes.
    const vast = front.host.createMemory(2 ** 44);
    kept.push(vast);
    const regions = [regionOf(2 ** 44)];
    expect(await front.number('SET_MEM_TABLE', { nregions: 1, regions }, [vast])).toBe(1n);
    const table = { nregions: 1, regions: [regionOf(2 ** 20)] };
    expect(await front.number('SET_MEM_TABLE', table, [lent])).toBe(0n);
    // A kick that is none, and one that is never over.
    await front.number('SET_VRING_NUM', { index: 0, num: 8 });
    await front.number('SET_VRING_ADDR', {
      index: 0,
      desc_user_addr: userBase + 0x1000n,
      avail_user_addr: userBase + 0x2000n,
      used_user_addr: userBase + 0x3000n,
    });
    await front.number('SET_VRING_ENABLE', { index: 0, num: 1 });
    expect(await front.number('SET_VRING_KICK', { u64: 0n }, [lent])).toBe(1n);
    const { channel, other } = front.host.createChannel();
    channel.close();
    expect(await front.number('SET_VRING_KICK', { u64: 0n }, [other])).toBe(0n);
    other.close();
    if (protocol.has('DEVICE_STATE')) {
      const running = await front.number('SET_DEVICE_STATE_FD', { direction: 0, phase: 0 }, [lent]);
      expect(running).toBe(0x101n);
    }
    // The memory goes away under the queue, and comes back.
    expect(await front.number('SET_MEM_TABLE', { nregions: 0, regions: [] })).toBe(0n);
    expect(await front.number('SET_MEM_TABLE', table, [lent])).toBe(0n);
    const asked = { offset: 200, size: 100, flags: 0, region: Array.from({ length: 100 }, () => 0) };
    expect((await front.ask('GET_CONFIG', asked))?.payload).toHaveLength(0);
    expect(await front.ask('GET_VRING_BASE', { index: 255 })).toBeUndefined();
  });

  await talk(async (front, protocol) => {
    if (!protocol.has('DEVICE_STATE')) return;
    // A state that never comes, and whoever waits for it leaves.
    const { channel, other } = front.host.createChannel();
    kept.push(channel);
    const answer = await front.number('SET_DEVICE_STATE_FD', { direction: 1, phase: 0 }, [other]);
    other.close();
    expect(answer).toBe(0x100n);
    void front.ask('CHECK_DEVICE_STATE');
  });

  for (let i = 0; i < 3; i++) {
    // Answers that nobody reads, and then nonsense.
    const silent = connectUnix(served.socket);
    const question = VhostUserHeader.encode({ request: frontEndMessages.GET_FEATURES.id, flags: 1, size: 0 });
    for (let count = 0; count < 30; count++) silent.send(Buffer.concat(Array(1000).fill(question)));
    silent.send(new Uint8Array(12));
    kept.push({ close: () => silent.abort() });
  }
}
