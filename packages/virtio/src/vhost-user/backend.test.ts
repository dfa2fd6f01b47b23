import { describe, expect, it } from 'vitest';
import { InMemoryDescriptors } from '../channel/in-memory.ts';
import { type Device, type DeviceBehaviour, device } from '../device/device.ts';
import type { PolledQueue } from '../device/polled-queue.ts';
import { pollQueues } from '../device/polling.ts';
import { UsageError, type VirtioError } from '../errors.ts';
import { deviceType } from '../spec/device-type.ts';
import { le32, struct, u8 } from '../spec/layout.ts';
import { connect, quiet, type RawFrontEnd, type SetUp } from './front-end.fixture.ts';
import { MessageStream } from './message-stream.ts';
import { backEndMessages } from './messages.ts';
import { u64, VhostUserConfig } from './payloads.ts';
import { configFlags, protocolFeatureNames, transferDirection } from './protocol.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: { EXTRA: 0 },
  queues: { requestq: { from: 0, every: 1 } },
  config: struct('sample_config', { level: le32, wish: le32, flag: u8 }),
  driverWritable: ['wish', 'flag'],
});

/** Answers each request with its byte and one more. */
function sample(behaviour: DeviceBehaviour<typeof type> = {}): Device<typeof type> {
  return device(type, {
    offers: ['EXTRA'],
    queues: { requestq: { count: 2, size: 64 } },
    config: { level: 7 },
    serve: { requestq: (chain) => chain.writable.u8(chain.readable.u8() + 1) },
    ...behaviour,
  });
}

function connected(made: Device = sample(), options: Parameters<typeof connect>[2] = {}) {
  return connect(made, new InMemoryDescriptors(), options);
}

/** Nothing is left of a connection, once both sides are gone. */
async function expectNothingLeft(front: RawFrontEnd): Promise<void> {
  front.close();
  await quiet();
  const { open, mapped, watched } = front.host;
  expect({ open, mapped, watched }).toEqual({ open: 0, mapped: 0, watched: 0 });
}

function started(front: RawFrontEnd): RawFrontEnd {
  front.start();
  return front;
}

const kinds: readonly SetUp[] = [
  {},
  { packed: true },
  { old: true },
  { old: true, packed: true },
  { protocol: ['REPLY_ACK', 'STATUS', 'MQ'] },
];

describe.each(kinds)('a session (%o)', (setUp) => {
  it('serves requests from the first kick to the last base', async () => {
    const { front } = connected();
    front.begin(setUp);
    const driver = front.driver(setUp);
    front.start(setUp);
    driver.offer([1, 2]);
    await quiet();
    expect(driver.answered()).toEqual([
      { token: 1, answer: 2 },
      { token: 2, answer: 3 },
    ]);
    expect(front.calls).toBeGreaterThan(0);
    for (let i = 0; i < 4; i++) await front.reply();
    const base = await front.stop();
    expect(base).toBe(setUp.packed === true ? 0x8004_8004 : 2);
    driver.offer([3]);
    await quiet();
    expect(driver.answered()).toEqual([]);
    front.start(setUp, base);
    await quiet();
    expect(driver.answered()).toEqual([{ token: 3, answer: 4 }]);
    await expectNothingLeft(front);
  });
});

it('takes a packed ring for a new one where its base is 0, as user-mode Linux says it, unless it was stopped there', async () => {
  const { front } = connected();
  const setUp = { packed: true, size: 2 };
  front.begin(setUp);
  const driver = front.driver(setUp);
  driver.offer([1]);
  front.start(setUp, 0);
  await quiet();
  expect(driver.answered()).toHaveLength(1);
  await front.reply();
  await front.reply();
  expect(await front.stop()).toBe(0);
  driver.offer([2]);
  front.start(setUp, 0);
  await quiet();
  expect(driver.answered()).toEqual([{ token: 2, answer: 3 }]);
  await expectNothingLeft(front);
});

it('is as at first for a driver whose ring begins anew, and goes on for one whose ring goes on', async () => {
  let resets = 0;
  const { front } = connected(sample({ reset: () => void resets++ }));
  front.begin();
  const driver = front.driver();
  front.start();
  driver.offer([1]);
  await quiet();
  for (let i = 0; i < 3; i++) await front.reply();
  const before = resets;
  const base = await front.stop();
  front.start({}, base);
  driver.offer([2]);
  await quiet();
  expect(driver.answered()).toHaveLength(2);
  expect(resets).toBe(before);

  await front.stop();
  front.clearRing();
  const another = front.driver();
  front.start();
  another.offer([3]);
  await quiet();
  expect(another.answered()).toEqual([{ token: 3, answer: 4 }]);
  expect(resets).toBe(before + 1);
  await expectNothingLeft(front);
});

it('takes a queue that is disabled for one that may be set up anew, as user-mode Linux does', async () => {
  const { front } = connected();
  front.begin();
  const driver = front.driver();
  front.start();
  driver.offer([1]);
  await quiet();
  front.stream.request('SET_VRING_ENABLE', { index: 0, num: 0 });
  front.clearRing();
  const another = front.driver();
  front.start();
  another.offer([2]);
  await quiet();
  expect(another.answered()).toEqual([{ token: 2, answer: 3 }]);
  await expectNothingLeft(front);
});

describe('features', () => {
  it('are those of the device and of the protocol', async () => {
    const { front } = connected();
    const bits = await front.askNumber('GET_FEATURES');
    expect(bits & 1n).toBe(1n);
    expect((bits >> 30n) & 1n).toBe(1n);
    expect((bits >> 32n) & 0b101n).toBe(0b101n);
    const { names } = protocolFeatureNames(await front.askNumber('GET_PROTOCOL_FEATURES'));
    expect(names).toContain('STATUS');
    expect(names).not.toContain('DEVICE_STATE');
    await expectNothingLeft(front);
  });

  it('leave out what the host cannot do, and what the owner does not want', async () => {
    const host = new InMemoryDescriptors();
    const { map, createMemory, createEvent, signal, watch } = host;
    const poor = {
      map: map.bind(host),
      createMemory: createMemory.bind(host),
      createEvent: createEvent.bind(host),
      signal: signal.bind(host),
      watch: watch.bind(host),
    };
    const { front } = connect(sample(), host, { lends: poor, without: ['MQ'] });
    const { names } = protocolFeatureNames(await front.askNumber('GET_PROTOCOL_FEATURES'));
    expect(names).not.toContain('BACKEND_REQ');
    expect(names).not.toContain('MQ');
    expect(names).toContain('CONFIG');
  });

  it('end the connection where they were not offered', async () => {
    for (const bits of [1n << 50n, 1n << 33n]) {
      const { front } = connected();
      front.stream.request('SET_FEATURES', { u64: bits });
      await quiet();
      expect(front.over).toBeDefined();
      await expectNothingLeft(front);
    }
    const { front } = connected();
    front.stream.request('SET_PROTOCOL_FEATURES', { u64: 1n << 8n });
    await quiet();
    expect(front.over).toBeDefined();
  });

  it('end the connection where a message needs one that was not negotiated', async () => {
    const { front } = connected();
    front.begin();
    front.stream.request('GET_QUEUE_NUM', {});
    await quiet();
    expect(front.over).toBeDefined();
    await expectNothingLeft(front);
  });

  it('may be others for the next driver, but not under a queue that runs', async () => {
    const { front } = connected();
    front.begin();
    front.driver();
    front.start();
    await quiet();
    await front.reply();
    await front.reply();
    await front.stop();
    front.stream.request('SET_FEATURES', { u64: front.featureBits({ features: [0] }) });
    front.start();
    await quiet();
    expect(front.over).toBeUndefined();
    front.stream.request('SET_FEATURES', { u64: front.featureBits({}) });
    await quiet();
    expect(front.over).toBeDefined();
    await expectNothingLeft(front);
  });
});

describe('rings', () => {
  it('rest while disabled, and go on when they are enabled', async () => {
    const { front } = connected();
    front.begin();
    const driver = front.driver();
    front.start();
    front.stream.request('SET_VRING_ENABLE', { index: 0, num: 0 });
    await quiet();
    driver.offer([1]);
    await quiet();
    expect(driver.answered()).toEqual([]);
    front.stream.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    await quiet();
    expect(driver.answered()).toHaveLength(1);
    await expectNothingLeft(front);
  });

  it('are looked at by a host that does so, but not while they are disabled', async () => {
    let polled: PolledQueue | undefined;
    const linger = (queue: PolledQueue): void => {
      polled = queue;
    };
    const { front } = connected(sample(), { polling: pollQueues({ linger }) });
    front.begin();
    const driver = front.driver();
    front.start();
    await quiet();
    driver.offer([1], false);
    expect(polled?.look()).toBe(true);
    expect(driver.answered()).toHaveLength(1);
    front.stream.request('SET_VRING_ENABLE', { index: 0, num: 0 });
    await quiet();
    driver.offer([2], false);
    expect(polled?.look()).toBe(false);
    expect(polled?.rest()).toBe(false);
    front.stream.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    await quiet();
    expect(driver.answered()).toHaveLength(1);
    await expectNothingLeft(front);
  });

  it('stop behind what they have taken, while later messages wait', async () => {
    let finish: () => void = () => {};
    const { front } = connected(
      sample({ serve: { requestq: () => new Promise((resolve) => (finish = resolve)) } }),
    );
    front.begin();
    const driver = front.driver();
    front.start();
    driver.offer([1]);
    await quiet();
    await front.reply();
    await front.reply();
    front.stream.request('GET_VRING_BASE', { index: 0 });
    front.stream.request('GET_FEATURES', {});
    expect(await front.reply()).toBeUndefined();
    finish();
    expect((await front.reply())?.name).toBe('GET_VRING_BASE');
    expect((await front.reply())?.name).toBe('GET_FEATURES');
    expect(driver.answered()).toHaveLength(1);
    await expectNothingLeft(front);
  });

  it('are polled where there is no kick, if the host can', async () => {
    let look: () => void = () => {};
    let polls = 0;
    const { front } = connected(sample(), {
      poll: (given) => {
        look = given;
        polls++;
        return () => polls--;
      },
    });
    front.begin({ old: true });
    const driver = front.driver();
    front.start({ old: true });
    front.stream.request('SET_VRING_KICK', { u64: front.withoutKick() });
    await quiet();
    expect(polls).toBe(1);
    driver.offer([1], false);
    look();
    expect(driver.answered()).toHaveLength(1);
    await expectNothingLeft(front);
    expect(polls).toBe(0);
    const other = connected();
    other.front.stream.request('SET_VRING_KICK', { u64: other.front.withoutKick() });
    await quiet();
    expect(other.front.over).toBeDefined();
  });

  it('call at once: a back end that died may have given buffers back and not told so', async () => {
    const { front } = connected();
    front.begin();
    front.driver();
    front.start();
    await quiet();
    expect(front.calls).toBe(1);
    await expectNothingLeft(front);
  });

  it('do not start with a kick that is none, and do with the next', async () => {
    const { front, host } = connected();
    front.begin({ protocol: ['REPLY_ACK'] });
    const driver = front.driver();
    front.start();
    await front.reply();
    await front.reply();
    await front.stop();
    driver.offer([1]);
    expect(await front.acknowledged('SET_VRING_KICK', { u64: 0n }, [front.lent])).toBe(false);
    expect(driver.answered()).toEqual([]);
    expect(host.watched).toBe(1);
    expect(await front.acknowledged('SET_VRING_NUM', { index: 0, num: 8 })).toBe(true);
    expect(await front.acknowledged('SET_VRING_KICK', { u64: 0n }, [front.kick])).toBe(true);
    await quiet();
    expect(driver.answered()).toEqual([{ token: 1, answer: 2 }]);
    await expectNothingLeft(front);
  });

  it('are used without a call where the front end looks for itself', async () => {
    const { front } = connected();
    front.begin();
    const driver = front.driver();
    front.start();
    front.stream.request('SET_VRING_CALL', { u64: front.withoutKick() });
    await quiet();
    const before = front.calls;
    driver.offer([1]);
    await quiet();
    expect(driver.answered()).toHaveLength(1);
    expect(front.calls).toBe(before);
    await expectNothingLeft(front);
  });

  it('signal an error when the driver breaks them', async () => {
    const errors: VirtioError[] = [];
    const { front, host } = connected(sample(), { onError: (error) => void errors.push(error) });
    front.begin({ protocol: ['STATUS'] });
    const driver = front.driver();
    front.start();
    let broken = 0;
    const err = host.createEvent();
    const stop = host.watch(err, () => broken++);
    front.stream.request('SET_VRING_ERR', { u64: 0n }, { descriptors: [err] });
    await quiet();
    front.memory.write(0x2002, Uint8Array.of(200, 0));
    driver.offer([], true);
    front.memory.write(0x2002, Uint8Array.of(200, 0));
    host.signal(front.kick);
    await quiet();
    expect(errors.map(({ code }) => code)).toContain('AVAILABLE_INDEX_JUMP');
    expect(broken).toBe(1);
    await front.reply();
    await front.reply();
    expect((await front.askNumber('GET_STATUS')) & 64n).toBe(64n);
    stop();
    err.close();
    await expectNothingLeft(front);
  });

  const early: readonly (readonly [what: string, send: (front: RawFrontEnd) => void])[] = [
    ['for a queue that is not there', (f) => f.stream.request('SET_VRING_NUM', { index: 2, num: 8 })],
    ['of a size that it cannot have', (f) => f.stream.request('SET_VRING_NUM', { index: 0, num: 65 })],
    ['of size 0', (f) => f.stream.request('SET_VRING_NUM', { index: 0, num: 0 })],
    ['that are enabled with 2', (f) => f.stream.request('SET_VRING_ENABLE', { index: 0, num: 2 })],
    [
      'outside memory',
      (f) => {
        f.start();
        f.stream.request('GET_VRING_BASE', { index: 0 });
        f.stream.request('SET_VRING_ADDR', { index: 0, desc_user_addr: 1n });
        f.stream.request('SET_VRING_KICK', { u64: 0n }, { descriptors: [f.kick] });
      },
    ],
    ['that move while they run', (f) => started(f).stream.request('SET_VRING_ADDR', { index: 0 })],
    ['of another size while they run', (f) => started(f).stream.request('SET_VRING_NUM', { num: 4 })],
    ['elsewhere while they run', (f) => started(f).stream.request('SET_VRING_BASE', { num: 4 })],
    ['with a kick that is none', (f) => f.stream.request('SET_VRING_KICK', { u64: 0n })],
    [
      'with a kick and the word that there is none',
      (f) => f.stream.request('SET_VRING_KICK', { u64: 0x100n }, { descriptors: [f.kick] }),
    ],
    [
      'with memory for a kick',
      (f) => {
        f.start();
        f.stream.request('SET_VRING_KICK', { u64: 0n }, { descriptors: [f.lent] });
      },
    ],
    [
      'with a call for none of them',
      (f) => f.stream.request('SET_VRING_CALL', { u64: 9n }, { descriptors: [f.call] }),
    ],
    [
      'with a kick for none of them',
      (f) => f.stream.request('SET_VRING_KICK', { u64: 9n }, { descriptors: [f.kick] }),
    ],
  ];
  it.each(early)('%s end the connection, and the next one is served', async (_what, send) => {
    const made = sample();
    const { front, host } = connected(made);
    front.begin();
    front.driver();
    send(front);
    await quiet();
    expect(front.over).toBeDefined();
    await expectNothingLeft(front);
    const next = connect(made, host);
    next.front.begin();
    const driver = next.front.driver();
    next.front.start();
    driver.offer([1]);
    await quiet();
    expect(driver.answered()).toHaveLength(1);
    await expectNothingLeft(next.front);
  });
});

describe('memory', () => {
  const region = (guest: bigint, size: bigint, user: bigint, offset = 0n) => ({
    guest_phys_addr: guest,
    memory_size: size,
    userspace_addr: user,
    mmap_offset: offset,
  });

  it('is added and removed a region at a time', async () => {
    const { front } = connected();
    front.begin({ protocol: ['CONFIGURE_MEM_SLOTS', 'REPLY_ACK'] });
    await front.reply();
    await front.reply();
    expect(await front.askNumber('GET_MAX_MEM_SLOTS')).toBe(509n);
    const more = front.host.createMemory(8192);
    const one = { region: region(2n ** 40n, 4096n, 5n * 2n ** 50n, 4096n) };
    expect(await front.acknowledged('ADD_MEM_REG', one, [more])).toBe(true);
    expect(front.host.mapped).toBe(3);
    // A front end that hands a descriptor over in vain.
    expect(await front.acknowledged('REM_MEM_REG', one, [more])).toBe(true);
    expect(front.host.mapped).toBe(2);
    // It does not fit its descriptor: the front end is told, and may go on.
    expect(await front.acknowledged('ADD_MEM_REG', { region: region(2n ** 40n, 9000n, 0n) }, [more])).toBe(
      false,
    );
    expect(front.over).toBeUndefined();
    more.close();
    await expectNothingLeft(front);
  });

  it('is exchanged under a queue that runs, when nothing is in flight', async () => {
    let finish: () => void = () => {};
    const { front } = connected(
      sample({ serve: { requestq: () => new Promise((resolve) => (finish = resolve)) } }),
    );
    front.begin();
    const driver = front.driver();
    front.start();
    driver.offer([1]);
    await quiet();
    front.lend();
    driver.offer([2]);
    await quiet();
    finish();
    await quiet();
    finish();
    await quiet();
    expect(driver.answered()).toHaveLength(2);
    expect(front.host.mapped).toBe(2);
    await expectNothingLeft(front);
  });

  const lies = [
    ['no bytes', region(0n, 0n, 0n)],
    ['more bytes than there are', region(0n, 2n ** 21n, 0n)],
    ['an address that no number holds', region(2n ** 53n, 4096n, 0n)],
    ['an offset that no number holds', region(0n, 4096n, 0n, 2n ** 60n)],
    ['an odd address', region(1n, 4096n, 0n)],
    ['addresses that wrap around', region(0n, 4096n, 2n ** 64n - 1n)],
  ] as const;
  it.each(lies)('of %s ends the connection', async (_what, one) => {
    const { front } = connected();
    front.stream.request('SET_MEM_TABLE', { nregions: 1, regions: [one] }, { descriptors: [front.lent] });
    await quiet();
    expect(front.over).toBeDefined();
    await expectNothingLeft(front);
  });

  it('comes in a table that has room for more', async () => {
    const { front } = connected();
    front.begin();
    const regions = [region(0n, 4096n, 0n), ...Array.from({ length: 7 }, () => region(0n, 0n, 0n))];
    front.stream.request('SET_MEM_TABLE', { nregions: 1, regions }, { descriptors: [front.lent] });
    await quiet();
    expect(front.over).toBeUndefined();
    expect(front.host.mapped).toBe(2);
    await expectNothingLeft(front);
  });

  it('of more than 1 TiB is refused before any of it is mapped', async () => {
    const { front } = connected();
    front.begin({ protocol: ['CONFIGURE_MEM_SLOTS', 'REPLY_ACK'] });
    await front.reply();
    await front.reply();
    const most = 2n ** 40n;
    const errors = { regions: [region(most, most, 0n), region(0n, 4096n, most)], nregions: 2 };
    expect(await front.acknowledged('SET_MEM_TABLE', errors, [front.lent, front.lent])).toBe(false);
    const one = { region: region(most, most, 0n) };
    expect(await front.acknowledged('ADD_MEM_REG', one, [front.lent])).toBe(false);
    expect(front.over).toBeUndefined();
    await expectNothingLeft(front);
  });

  it('that overlaps, or is counted otherwise, ends the connection', async () => {
    const two = [region(0n, 8192n, 0n), region(4096n, 4096n, 0x10000n)];
    const inFrontEnd = [region(0n, 8192n, 0n), region(8192n, 4096n, 4096n)];
    for (const [nregions, regions, descriptors] of [
      [2, two, 2],
      [2, inFrontEnd, 2],
      [1, two, 2],
      [2, two, 1],
      [3, two, 3],
    ] as const) {
      const { front } = connected();
      const given = Array.from({ length: descriptors }, () => front.lent);
      front.stream.request('SET_MEM_TABLE', { nregions, regions }, { descriptors: given });
      await quiet();
      expect(front.over).toBeDefined();
      await expectNothingLeft(front);
    }
  });
});

describe('the configuration', () => {
  const protocol = ['CONFIG', 'REPLY_ACK', 'BACKEND_REQ'] as const;

  it('is read in the size that is asked for', async () => {
    const { front } = connected();
    front.begin({ protocol });
    await front.reply();
    await front.reply();
    const asked = { offset: 0, size: 20, flags: 0, region: Array.from({ length: 20 }, () => 0xff) };
    const { region } = (await front.ask('GET_CONFIG', asked)).read(VhostUserConfig);
    expect(region).toEqual([7, ...Array.from({ length: 19 }, () => 0)]);
    // More than there can be is answered with nothing.
    expect((await front.ask('GET_CONFIG', { ...asked, offset: 237 })).payload).toHaveLength(0);
    front.stream.request('GET_CONFIG', { ...asked, size: 21 });
    await quiet();
    expect(front.over).toBeDefined();
  });

  it('is written where the driver may, in the width of its fields', async () => {
    const written: unknown[] = [];
    const made = sample({ writeConfig: (field, value) => void written.push([field, value]) });
    const { front } = connected(made);
    front.begin({ protocol });
    await front.reply();
    await front.reply();
    const set = (offset: number, region: number[], flags: number = configFlags.WRITABLE) =>
      front.acknowledged('SET_CONFIG', { offset, size: region.length, flags, region });
    expect(await set(4, [1, 2, 0, 0, 9])).toBe(true);
    expect(written).toEqual([
      ['wish', 0x201],
      ['flag', 9],
    ]);
    expect(await set(0, [8, 0, 0, 0])).toBe(false);
    expect(await set(0, [8, 0, 0, 0, 1, 0, 0, 0], configFlags.MIGRATION)).toBe(false);
    expect(await set(0, [7, 0, 0, 0, 3, 0, 0, 0], configFlags.MIGRATION)).toBe(true);
    expect(made.config).toMatchObject({ level: 7, wish: 3, flag: 9 });
    await expectNothingLeft(front);
  });

  it.each([
    ['tells the front end of a change while queues run, and of an earlier one then', protocol],
    ['tells nothing to a front end with a configuration of its own', ['BACKEND_REQ']],
  ] as const)('%s', async (_what, protocol) => {
    const told = protocol.length > 1 ? 1 : 0;
    const made = sample();
    const { front, host } = connected(made);
    front.begin({ protocol });
    const heard: string[] = [];
    const { channel, other } = host.createChannel();
    new MessageStream(channel, backEndMessages, 'requests', {
      received: ({ name }) => void heard.push(name),
      closed() {},
    });
    front.stream.request('SET_BACKEND_REQ_FD', {}, { descriptors: [other] });
    other.close();
    front.driver();
    front.start();
    await quiet();
    made.updateConfig({ level: 8 });
    await quiet();
    expect(heard).toEqual(Array(told).fill('CONFIG_CHANGE_MSG'));
    await front.reply();
    await front.reply();
    await front.stop();
    made.updateConfig({ level: 9 });
    await quiet();
    expect(heard).toHaveLength(told);
    front.start({}, 0);
    await quiet();
    expect(heard).toHaveLength(2 * told);
    await expectNothingLeft(front);
  });
});

describe('status and reset', () => {
  const protocol = ['STATUS', 'RESET_DEVICE', 'REPLY_ACK'] as const;

  it('keeps the status that the front end writes, but for features that will not do', async () => {
    const { front } = connected();
    front.begin({ protocol });
    await front.reply();
    await front.reply();
    expect(await front.acknowledged('SET_STATUS', { u64: 8n })).toBe(true);
    expect(await front.askNumber('GET_STATUS')).toBe(8n);
    expect(await front.acknowledged('SET_STATUS', { u64: 0n })).toBe(true);
    expect(await front.acknowledged('SET_FEATURES', { u64: 1n << 30n })).toBe(true);
    expect(await front.acknowledged('SET_STATUS', { u64: 11n })).toBe(true);
    expect(await front.askNumber('GET_STATUS')).toBe(3n);
    await expectNothingLeft(front);
  });

  it.each(['SET_STATUS', 'RESET_DEVICE'] as const)('starts anew after %s', async (message) => {
    let resets = 0;
    const { front } = connected(sample({ reset: () => void resets++ }));
    front.begin({ protocol });
    let driver = front.driver();
    front.start();
    driver.offer([1]);
    await quiet();
    const before = resets;
    front.stream.request(message, {});
    front.stream.request('SET_FEATURES', { u64: front.featureBits({}) });
    await quiet();
    expect(resets).toBe(before + 1);
    driver = front.driver();
    driver.offer([2]);
    await quiet();
    expect(driver.answered()).toEqual([]);
    front.start();
    await quiet();
    expect(driver.answered()).toEqual([{ token: 2, answer: 3 }]);
    await expectNothingLeft(front);
  });

  it('is reset once: what a front end says of the device before its queues start anew holds', async () => {
    let resets = 0;
    const { front } = connected(sample({ reset: () => void resets++ }));
    front.begin({ protocol });
    const driver = front.driver();
    front.start();
    driver.offer([1]);
    await quiet();
    await front.reply();
    await front.reply();
    expect(await front.stop()).toBe(1);
    const before = resets;
    expect(await front.acknowledged('RESET_DEVICE')).toBe(true);
    expect(await front.acknowledged('SET_FEATURES', { u64: front.featureBits({}) })).toBe(true);
    front.clearRing();
    front.start();
    await quiet();
    expect(resets).toBe(before + 1);
    await expectNothingLeft(front);
  });
});

describe('a device with state of its own', () => {
  it('moves it through a pipe, and says whether it arrived', async () => {
    const stateful = () => {
      let held = 0;
      return sample({
        serve: {
          requestq(chain) {
            held += chain.readable.u8();
            chain.writable.u8(held);
          },
        },
        save: () => held,
        restore: (state) => {
          held = Number(state);
        },
      });
    };
    const { front: source, host } = connected(stateful());
    const protocol = ['DEVICE_STATE', 'CONFIGURE_MEM_SLOTS'] as const;
    source.begin({ protocol });
    let driver = source.driver();
    source.start();
    driver.offer([5]);
    await quiet();
    await source.reply();
    await source.reply();
    await source.stop();
    const out = host.createChannel();
    const bytes: number[] = [];
    let ended = false;
    out.channel.listen({
      received: (some) => void bytes.push(...some),
      closed() {
        ended = true;
      },
    });
    const saved = await source.ask('SET_DEVICE_STATE_FD', { direction: transferDirection.SAVE }, [out.other]);
    out.other.close();
    expect(saved.read(u64).u64).toBe(0x100n);
    expect(await source.askNumber('CHECK_DEVICE_STATE')).toBe(0n);
    expect(ended).toBe(true);
    await expectNothingLeft(source);

    const { front: target, host: targetHost } = connected(stateful());
    target.begin({ protocol });
    await target.reply();
    await target.reply();
    for (const [state, result] of [
      ['{"type":4}', 1n],
      [String.fromCharCode(...bytes), 0n],
    ] as const) {
      const into = targetHost.createChannel();
      await target.ask('SET_DEVICE_STATE_FD', { direction: transferDirection.LOAD }, [into.other]);
      into.other.close();
      into.channel.listen({ received() {}, closed() {} });
      into.channel.send(Uint8Array.from(state, (letter) => letter.charCodeAt(0)));
      into.channel.close();
      expect(await target.askNumber('CHECK_DEVICE_STATE')).toBe(result);
    }
    driver = target.driver();
    target.start();
    driver.offer([2]);
    await quiet();
    expect(driver.answered()).toEqual([{ token: 2, answer: 7 }]);
    await expectNothingLeft(target);
  });

  it('cannot be saved now and then: the device goes on where it is', async () => {
    const errors: VirtioError[] = [];
    let mapped = false;
    const { front, host } = connected(
      sample({
        save() {
          if (mapped) throw new UsageError('BAD_STATE', 'not now');
          return 1;
        },
        restore() {},
      }),
      { onError: (error) => void errors.push(error) },
    );
    front.begin({ protocol: ['DEVICE_STATE'] });
    await front.reply();
    await front.reply();
    for (const result of [1n, 0n]) {
      mapped = result === 1n;
      const out = host.createChannel();
      out.channel.listen({ received() {}, closed() {} });
      await front.ask('SET_DEVICE_STATE_FD', { direction: transferDirection.SAVE }, [out.other]);
      out.other.close();
      expect(await front.askNumber('CHECK_DEVICE_STATE')).toBe(result);
    }
    expect(errors).toMatchObject([{ message: 'not now' }]);
    await expectNothingLeft(front);
  });

  it('says that it cannot be moved now, in that direction, or through what is no connection', async () => {
    const errors: VirtioError[] = [];
    const { front, host } = connected(sample({ save: () => 1, restore() {} }), {
      onError: (error) => void errors.push(error),
    });
    front.begin({ protocol: ['DEVICE_STATE'] });
    front.driver();
    front.start();
    await front.reply();
    await front.reply();
    const { SAVE, LOAD } = transferDirection;
    const move = async (direction: number, phase = 0, descriptor = host.createEvent()): Promise<unknown> => {
      const { payload } = await front.ask('SET_DEVICE_STATE_FD', { direction, phase }, [descriptor]);
      descriptor.close();
      return payload[0];
    };
    expect(await move(SAVE)).toBe(1);
    await front.stop();
    for (const [direction, phase] of [
      [2, 0],
      [SAVE, 1],
      [SAVE, 0],
      [LOAD, 0],
    ] as const) {
      expect(await move(direction, phase)).toBe(1);
      expect(await front.askNumber('CHECK_DEVICE_STATE')).toBe(1n);
    }
    expect(errors).toHaveLength(5);
    const { channel, other } = host.createChannel();
    expect(await move(SAVE, 0, other)).toBe(0);
    channel.close();
    expect(await front.askNumber('CHECK_DEVICE_STATE')).toBe(0n);
    await expectNothingLeft(front);
  });

  it('is free for the next front end though its state never came', async () => {
    const { front, backend, host } = connected(sample({ save: () => 1, restore() {} }));
    front.begin({ protocol: ['DEVICE_STATE'] });
    const into = host.createChannel();
    front.stream.request(
      'SET_DEVICE_STATE_FD',
      { direction: transferDirection.LOAD },
      { descriptors: [into.other] },
    );
    into.other.close();
    front.stream.request('CHECK_DEVICE_STATE', {});
    await quiet();
    front.stream.close();
    await quiet();
    expect(backend.closed).toBe(true);
    await expectNothingLeft(front);
  });
});

describe('writes', () => {
  it('are logged while the front end wants it, and used rings where they say so', async () => {
    const { front, host } = connected();
    front.begin({ protocol: ['LOG_SHMFD'] });
    const driver = front.driver();
    front.start();
    await quiet();
    await front.reply();
    await front.reply();
    const log = host.createMemory(4096 + 64);
    const bits = host.map(log, 4096, 64);
    const dirty = (): number[] => {
      const [piece] = bits.pieces;
      const bytes = new Uint8Array(piece?.buffer ?? new ArrayBuffer(0), piece?.byteOffset, 64);
      return [...bytes].flatMap((byte, i) =>
        Array.from({ length: 8 }, (_, bit) => bit)
          .filter((bit) => byte & (1 << bit))
          .map((bit) => 8 * i + bit),
      );
    };
    driver.offer([1]);
    await quiet();
    expect(
      (await front.ask('SET_LOG_BASE', { mmap_size: 64n, mmap_offset: 4096n }, [log])).payload,
    ).toHaveLength(0);
    driver.offer([2]);
    await quiet();
    expect(dirty()).toEqual([]);
    let told = 0;
    const event = host.createEvent();
    const stop = host.watch(event, () => told++);
    front.stream.request('SET_LOG_FD', {}, { descriptors: [event] });
    front.stream.request('SET_FEATURES', { u64: front.featureBits({}, true) });
    await quiet();
    driver.offer([3]);
    await quiet();
    expect(dirty()).toEqual([0x13]);
    expect(told).toBe(1);
    const at = (address: number): bigint => 0x7fff_0000_0000n + BigInt(address);
    front.stream.request('SET_VRING_ADDR', {
      flags: 1,
      desc_user_addr: at(0x1000),
      avail_user_addr: at(0x2000),
      used_user_addr: at(0x3000),
      log_guest_addr: 0x40000n,
    });
    await quiet();
    driver.offer([4]);
    await quiet();
    expect(dirty()).toEqual([0x13, 0x14, 0x40]);
    front.stream.request('SET_FEATURES', { u64: front.featureBits({}) });
    await quiet();
    driver.offer([5]);
    await quiet();
    expect(dirty()).toHaveLength(3);
    stop();
    bits.close();
    for (const descriptor of [log, event]) descriptor.close();
    await expectNothingLeft(front);
  });
});

describe('a connection', () => {
  it('gives everything back when it ends, whoever ends it, and leaves the device for the next', async () => {
    const made = sample({ serve: { requestq: () => new Promise(() => {}) } });
    for (const end of ['front end', 'back end'] as const) {
      const reasons: (VirtioError | undefined)[] = [];
      const { front, backend } = connected(made, { onClosed: (error) => void reasons.push(error) });
      front.begin({ protocol: ['REPLY_ACK'] });
      const driver = front.driver();
      front.start();
      driver.offer([1, 2]);
      await quiet();
      if (end === 'back end') {
        backend.close();
        backend.close();
      } else {
        front.stream.close();
      }
      await quiet();
      expect(backend.closed).toBe(true);
      expect(reasons).toEqual([undefined]);
      await expectNothingLeft(front);
    }
  });

  it('ends though a queue is being stopped, or memory exchanged, and a request is never done', async () => {
    const made = sample({ serve: { requestq: () => new Promise(() => {}) } });
    for (const waits of ['GET_VRING_BASE', 'SET_MEM_TABLE'] as const) {
      const { front, backend } = connected(made);
      front.begin({ protocol: ['INFLIGHT_SHMFD'] });
      const driver = front.driver();
      front.start();
      driver.offer([1, 2]);
      await quiet();
      if (waits === 'SET_MEM_TABLE') front.lend();
      else front.stream.request(waits, { index: 0 });
      await quiet();
      front.stream.close();
      await quiet();
      expect(backend.closed).toBe(true);
      await expectNothingLeft(front);
    }
  });

  it('has the device for itself', () => {
    const made = sample();
    const { host } = connected(made);
    expect(() => connect(made, host)).toThrow(/attached already/);
  });

  it('acknowledges what it is asked to, once that was negotiated', async () => {
    const { front } = connected();
    front.stream.request('SET_OWNER', {}, { needReply: true });
    expect(await front.reply()).toBeUndefined();
    front.begin({ protocol: ['REPLY_ACK'] });
    await front.reply();
    await front.reply();
    expect(await front.acknowledged('RESET_OWNER')).toBe(true);
    expect(await front.acknowledged('SET_VRING_NUM', { index: 7, num: 1 })).toBe(false);
    expect(front.over).toBeDefined();
    await expectNothingLeft(front);
  });
});
