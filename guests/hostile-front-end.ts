/** Front ends that break the rules, against the process of `virtio serve`. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { type OpenDevice, type OpenQueue, open } from 'virtio/driver';
import type { DeviceType } from 'virtio/spec';
import { attackSkip, driverAttacks, type Fixture, launch, TransportProxy } from 'virtio/testing';
import { VhostUserHeader, type VhostUserTransport } from 'virtio/vhost-user';
import { cacheFolder } from 'virtio-node/guests';
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
