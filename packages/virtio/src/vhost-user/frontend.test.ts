import { describe, expect, it, vi } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { InMemoryDescriptors } from '../channel/in-memory.ts';
import { entropy } from '../devices/entropy/spec.ts';
import { open } from '../driver/open.ts';
import type { NotificationListener } from '../driver/transport.ts';
import { PeerError, type VirtioError } from '../errors.ts';
import { FeatureSet, reservedFeatures } from '../spec/features.ts';
import { status } from '../spec/status.ts';
import type { VhostUserOptions } from './frontend.ts';
import { VhostUserTransport } from './frontend.ts';
import { MessageStream } from './message-stream.ts';
import { backEndMessages, type FrontEndMessageName } from './messages.ts';
import { u64, VhostUserConfig, VhostUserMemory, vhost_vring_addr, vhost_vring_state } from './payloads.ts';
import { messageFlags, type ProtocolFeatureName } from './protocol.ts';
import { type Handler, protocolBit, type Script, scripted, version1 } from './scripted-back-end.fixture.ts';

const size = 2 ** 20;
const usual: readonly ProtocolFeatureName[] = ['MQ', 'REPLY_ACK', 'CONFIG', 'RESET_DEVICE'];
const ids = { deviceId: 4, memory: size };
/** Nothing takes this long in memory: all of it is microtasks. */
const limit = <T>(answer: Promise<T>): Promise<T> =>
  Promise.race([
    answer,
    new Promise<T>((_, reject) => setImmediate(() => setImmediate(() => reject(new Error('too late'))))),
  ]);

async function connected(script: Script = {}, options: Partial<VhostUserOptions> = {}) {
  const pair = scripted({ protocol: usual, ...script });
  const transport = await VhostUserTransport.connect(pair.channel, pair.host, { ...ids, limit, ...options });
  return { ...pair, transport };
}

const allUp = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK | status.DRIVER_OK;

async function started(
  script: Script = {},
  options: Partial<VhostUserOptions> = {},
  features: number[] = [32],
) {
  const all = await connected(script, options);
  const { transport } = all;
  await transport.writeDriverFeatures(FeatureSet.of(features));
  const place = (length: number): number => transport.allocator.allocate(length, 16);
  await transport.enableQueue(0, { size: 8, descriptor: place(128), driver: place(64), device: place(128) });
  await transport.writeStatus(allUp);
  return all;
}

const dataView = (bytes: Uint8Array | undefined): DataView => {
  const { buffer, byteOffset, byteLength } = bytes ?? new Uint8Array(0);
  return new DataView(buffer, byteOffset, byteLength);
};

describe('a front end', () => {
  it('negotiates the protocol and takes possession', async () => {
    const { backEnd, transport } = await connected({ queues: 3n });
    expect(backEnd.heard).toEqual([
      'GET_FEATURES',
      'GET_PROTOCOL_FEATURES',
      'SET_PROTOCOL_FEATURES',
      'SET_OWNER',
      'GET_QUEUE_NUM',
    ]);
    expect(transport.session.protocolFeatures).toEqual(usual);
    expect((await transport.readDeviceFeatures()).bits()).toEqual([reservedFeatures.VERSION_1]);
    expect([await transport.queueMaxSize(2), await transport.queueMaxSize(3)]).toEqual([1024, 0]);
  });

  it('does without protocol features', async () => {
    const { backEnd, transport } = await started({ features: version1 });
    await transport.close();
    expect(backEnd.heard).toEqual([
      ...['GET_FEATURES', 'SET_OWNER', 'SET_FEATURES', 'SET_MEM_TABLE', 'GET_FEATURES'],
      ...[
        'SET_VRING_NUM',
        'SET_VRING_BASE',
        'SET_VRING_ADDR',
        'SET_VRING_CALL',
        'SET_VRING_ERR',
        'SET_VRING_KICK',
      ],
      ...['GET_FEATURES', 'GET_VRING_BASE'],
    ]);
    expect(dataView(backEnd.payloads.get('SET_FEATURES')).getBigUint64(0, true)).toBe(version1);
  });

  it('leaves protocol features alone when told to', async () => {
    const { backEnd } = await started({}, { negotiates: false });
    expect(backEnd.heard).not.toContain('GET_PROTOCOL_FEATURES');
    expect(backEnd.heard).not.toContain('SET_VRING_ENABLE');
    const { transport } = await connected({}, { without: ['REPLY_ACK', 'MQ'] });
    expect(transport.session.protocolFeatures).toEqual(['CONFIG', 'RESET_DEVICE']);
  });

  it('lends its memory and names rings by addresses of its own', async () => {
    const { backEnd, transport } = await started();
    const table = VhostUserMemory.read(dataView(backEnd.payloads.get('SET_MEM_TABLE')));
    expect(table.regions).toMatchObject([
      { guest_phys_addr: 4096n, memory_size: BigInt(size), mmap_offset: 0n },
    ]);
    const base = table.regions[0]?.userspace_addr ?? 0n;
    const addresses = vhost_vring_addr.read(dataView(backEnd.payloads.get('SET_VRING_ADDR')));
    expect(addresses.desc_user_addr - base).toBe(0n);
    const mapped = backEnd.host.map(backEnd.descriptor('SET_MEM_TABLE'), 0, size);
    transport.memory.write(8192, Uint8Array.of(1, 2, 3));
    const { buffer = new ArrayBuffer(0), byteOffset = 0 } = mapped.pieces[0] ?? {};
    expect([...new Uint8Array(buffer, byteOffset + 4096, 3)]).toEqual([1, 2, 3]);
  });

  it('begins a packed ring with both wrap counters at 1, a split one at 0', async () => {
    const split = await started();
    const packed = await started({ features: version1 | protocolBit | (1n << 34n) }, {}, [32, 34]);
    const base = ({ backEnd }: typeof split): number =>
      vhost_vring_state.read(dataView(backEnd.payloads.get('SET_VRING_BASE'))).num;
    expect(base(split)).toBe(0);
    expect(base(packed)).toBe(0x8000_8000);
  });

  it('kicks and is called by events', async () => {
    const { backEnd, host, transport } = await started();
    const heard: (number | undefined)[] = [];
    transport.listen({ usedBuffer: (queue) => void heard.push(queue), configChange() {} });
    const kicked = vi.fn();
    const stop = host.watch(backEnd.descriptor('SET_VRING_KICK'), kicked);
    // The first kick starts the ring.
    await vi.waitFor(() => expect(kicked).toHaveBeenCalledTimes(1));
    transport.kick(0);
    await vi.waitFor(() => expect(kicked).toHaveBeenCalledTimes(2));
    host.signal(backEnd.descriptor('SET_VRING_CALL'));
    await vi.waitFor(() => expect(heard).toEqual([0]));
    stop();
  });

  it('is called by nobody when it polls', async () => {
    const { backEnd, transport } = await started({}, { calls: 'polled' });
    expect(dataView(backEnd.payloads.get('SET_VRING_CALL')).getBigUint64(0, true)).toBe(0x100n);
    const used = vi.fn();
    transport.listen({ usedBuffer: used, configChange() {} });
    transport.poll();
    expect(used).toHaveBeenCalledWith(undefined);
  });

  it('stops its rings and resets the device, and lends nothing afterwards', async () => {
    const { backEnd, host, transport } = await started();
    backEnd.heard.length = 0;
    await transport.writeStatus(0);
    expect(backEnd.heard).toEqual(['SET_VRING_ENABLE', 'GET_VRING_BASE', 'RESET_DEVICE']);
    expect(await transport.readStatus()).toBe(0);
    await transport.close();
    await vi.waitFor(() => expect(backEnd.over).toBe('quietly'));
    backEnd.drop();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('resets one queue and sets it up again while the device runs', async () => {
    const { backEnd, transport } = await started();
    await transport.resetQueue(0);
    backEnd.heard.length = 0;
    await transport.enableQueue(0, { size: 4, descriptor: 4096, driver: 8192, device: 12288 });
    expect(backEnd.heard[0]).toBe('SET_VRING_NUM');
    expect(backEnd.heard.at(-1)).toBe('SET_VRING_ENABLE');
    await expect(
      transport.enableQueue(0, { size: 4, descriptor: 4096, driver: 8192, device: 12288 }),
    ).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  it('keeps the device status itself, or lets the back end', async () => {
    const own = await connected();
    await own.transport.writeStatus(3);
    expect(await own.transport.readStatus()).toBe(3);
    expect(own.transport.statusIsWriteOnly).toBe(true);
    expect(own.backEnd.heard).not.toContain('SET_STATUS');
    const theirs = await connected({ protocol: [...usual, 'STATUS'] });
    await theirs.transport.writeStatus(3);
    theirs.backEnd.status = 0x43n;
    expect(await theirs.transport.readStatus()).toBe(0x43);
    expect(theirs.transport.carries).toContain('SUSPEND');
  });

  it('gives no rings to a driver that has accepted nothing', async () => {
    const { backEnd, transport } = await connected();
    await transport.enableQueue(0, { size: 4, descriptor: 4096, driver: 8192, device: 12288 });
    await transport.writeStatus(allUp);
    expect(backEnd.heard).not.toContain('SET_MEM_TABLE');
    expect(backEnd.heard).not.toContain('SET_FEATURES');
    await transport.close();
  });

  it('does not keep FEATURES_OK where the back end refused the features', async () => {
    const refuse: Handler = (_, backEnd) => backEnd.stream.acknowledge('SET_FEATURES', false);
    const { transport } = await connected({ on: { SET_FEATURES: refuse } });
    await transport.writeDriverFeatures(FeatureSet.of([32]));
    await transport.writeStatus(11);
    expect(await transport.readStatus()).toBe(3);
    const other = await connected();
    await other.transport.writeDriverFeatures(FeatureSet.of([32, 5, 100]));
    await other.transport.writeStatus(11);
    expect(await other.transport.readStatus()).toBe(3);
    expect(other.backEnd.heard).not.toContain('SET_FEATURES');
  });

  it('reads the configuration from its start, and tells when it has changed', async () => {
    const config = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const { backEnd, transport } = await connected({ config });
    expect([...(await transport.readConfig(4, 2))]).toEqual([5, 6]);
    expect(VhostUserConfig.read(dataView(backEnd.payloads.get('GET_CONFIG')))).toMatchObject({
      offset: 0,
      size: 6,
    });
    const before = await transport.configGeneration();
    expect(await transport.configGeneration()).toBe(before);
    config[4] = 9;
    expect(await transport.configGeneration()).toBe(before + 1);
    await expect(transport.readConfig(8, 1)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    await transport.writeConfig(2, Uint8Array.of(7));
    expect(VhostUserConfig.read(dataView(backEnd.payloads.get('SET_CONFIG')))).toEqual({
      ...{ offset: 2, size: 1, flags: 0, region: [7] },
    });
  });

  it('keeps a configuration itself where the back end has none', async () => {
    const { transport } = await connected({ protocol: [] }, { config: Uint8Array.of(1, 2) });
    await transport.writeConfig(1, Uint8Array.of(5));
    expect([...(await transport.readConfig(0, 2))]).toEqual([1, 5]);
    await expect(transport.readConfig(0, 3)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('gives memory region by region where a table is too small, and no region twice', async () => {
    const host = new InMemoryDescriptors();
    const ranges = Array.from({ length: 9 }, (_, index) => ({
      ...{ address: index * 4096, size: 4096, descriptor: host.createMemory(4096) },
    }));
    const made = await connected({});
    const memory = {
      memory: made.transport.memory,
      allocator: made.transport.allocator,
      ranges,
    };
    const { backEnd, transport } = await started({ protocol: [...usual, 'CONFIGURE_MEM_SLOTS'] }, { memory });
    const count = (name: FrontEndMessageName): number => backEnd.heard.filter((one) => one === name).length;
    expect([count('ADD_MEM_REG'), count('SET_MEM_TABLE')]).toEqual([9, 0]);
    await transport.writeStatus(0);
    await transport.writeStatus(allUp);
    expect(count('ADD_MEM_REG')).toBe(9);
    await expect(started({}, { memory })).rejects.toMatchObject({ code: 'NO_SPACE' });
  });

  it('hears of a ring that the back end gives up', async () => {
    const { backEnd, host, transport } = await started();
    const listener = { usedBuffer() {}, configChange() {}, gone: vi.fn<(error: Error) => void>() };
    transport.listen(listener);
    host.signal(backEnd.descriptor('SET_VRING_ERR'));
    await vi.waitFor(() => expect(listener.gone).toHaveBeenCalledTimes(1));
    expect(listener.gone.mock.calls[0]?.[0]).toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
  });
});

describe('requests of the back end', () => {
  async function lent(protocol: readonly ProtocolFeatureName[] = [...usual, 'BACKEND_REQ']) {
    const all = await connected({ protocol });
    await vi.waitFor(() => expect(all.backEnd.heard).toContain('SET_BACKEND_REQ_FD'));
    const channel = all.host.openChannel(all.backEnd.descriptor('SET_BACKEND_REQ_FD'));
    const answers: [string, bigint][] = [];
    const stream = new MessageStream(channel, backEndMessages, 'replies', {
      received: (message) => void answers.push([message.name, message.read(u64).u64]),
      closed() {},
    });
    return { ...all, answers, stream, channel };
  }

  it('are answered: a change of the configuration, and what is not for us', async () => {
    const { answers, stream, transport } = await lent();
    const configChange = vi.fn();
    transport.listen({ usedBuffer() {}, configChange });
    stream.request('CONFIG_CHANGE_MSG', {}, { needReply: true });
    stream.request('SHARED_OBJECT_LOOKUP', {});
    stream.request('SHMEM_UNMAP', {}, { needReply: true });
    stream.request('VRING_CALL', {}, { needReply: true });
    await vi.waitFor(() => expect(answers).toHaveLength(4));
    expect(answers).toEqual([
      ['CONFIG_CHANGE_MSG', 0n],
      ['SHARED_OBJECT_LOOKUP', 1n],
      ['SHMEM_UNMAP', 1n],
      ['VRING_CALL', 1n],
    ]);
    expect(configChange).toHaveBeenCalledTimes(1);
  });

  it('are one where they come faster than the driver can look, and more when it has looked', async () => {
    const { answers, stream, transport } = await lent();
    const configChange = vi.fn();
    transport.listen({ usedBuffer() {}, configChange });
    for (const round of [1, 2]) {
      for (let i = 0; i < 1000; i++) stream.request('CONFIG_CHANGE_MSG', {});
      stream.request('CONFIG_CHANGE_MSG', {}, { needReply: true });
      await vi.waitFor(() => expect(answers).toHaveLength(round));
      await transport.readStatus();
      expect(configChange.mock.calls.length).toBeGreaterThanOrEqual(round);
    }
    expect(configChange.mock.calls.length).toBeLessThan(100);
  });

  it('leave no descriptor behind', async () => {
    const { answers, backEnd, stream, host, transport } = await lent();
    const memory = host.createMemory(4096);
    stream.request('SHMEM_MAP', { len: 4096n }, { descriptors: [memory], needReply: true });
    await vi.waitFor(() => expect(answers).toEqual([['SHMEM_MAP', 1n]]));
    memory.close();
    await transport.close();
    backEnd.drop();
    stream.close();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('end the connection when they are none', async () => {
    const { backEnd, channel, transport } = await lent();
    const gone = vi.fn();
    transport.listen({ usedBuffer() {}, configChange() {}, gone });
    channel.send(Uint8Array.from({ length: 12 }, () => 0xff));
    await vi.waitFor(() => expect(gone).toHaveBeenCalledTimes(1));
    expect(gone.mock.calls[0]?.[0]).toMatchObject({ code: 'BAD_MESSAGE' });
    await vi.waitFor(() => expect(backEnd.over).toBe('quietly'));
  });
});

describe('a hostile back end', () => {
  const REPLY = messageFlags.REPLY;
  const number = u64.encode({ u64: 1n });
  const lies: readonly (readonly [what: string, name: FrontEndMessageName, on: Handler, code: string])[] = [
    ['a short answer', 'GET_FEATURES', (m, b) => b.raw(m.form.id, REPLY, new Uint8Array(7)), 'BAD_MESSAGE'],
    ['a long answer', 'GET_FEATURES', (m, b) => b.raw(m.form.id, REPLY, new Uint8Array(16)), 'BAD_MESSAGE'],
    ['an empty answer', 'GET_FEATURES', (m, b) => b.raw(m.form.id, REPLY, new Uint8Array(0)), 'BAD_MESSAGE'],
    ['no answer', 'GET_FEATURES', () => {}, 'DEVICE_GONE'],
    ['no acknowledgement', 'SET_OWNER', () => {}, 'DEVICE_GONE'],
    ['an answer to something else', 'GET_FEATURES', (_, b) => b.raw(15, REPLY, number), 'BAD_MESSAGE'],
    ['an answer to nothing that there is', 'GET_FEATURES', (_, b) => b.raw(99, REPLY, number), 'BAD_MESSAGE'],
    ['a request instead', 'GET_FEATURES', (m, b) => b.raw(m.form.id, 0, number), 'BAD_MESSAGE'],
    [
      'two answers',
      'GET_QUEUE_NUM',
      (m, b) => {
        b.replyNumber(m, 1n);
        b.replyNumber(m, 1n);
      },
      'BAD_MESSAGE',
    ],
    [
      'descriptors that nobody asked for',
      'GET_FEATURES',
      (m, b) => {
        const event = b.host.createEvent();
        b.raw(m.form.id, REPLY, number, [event]);
        event.close();
      },
      'BAD_MESSAGE',
    ],
    ['the end', 'GET_PROTOCOL_FEATURES', (_, b) => b.stream.close(), 'DEVICE_GONE'],
    [
      'the end in the middle of an answer',
      'GET_FEATURES',
      (_, b) => {
        b.channel.send(Uint8Array.of(1, 0, 0));
        b.stream.close();
      },
      'BAD_MESSAGE',
    ],
    ['a refusal', 'SET_OWNER', (_, b) => b.stream.acknowledge('SET_OWNER', false), 'COMMAND_FAILED'],
  ] satisfies (readonly [string, FrontEndMessageName, Handler, string])[];

  it.each(lies)(
    'that gives %s to %s ends the connection, and leaves nothing',
    async (_what, name, on, code) => {
      const { channel, host, backEnd } = scripted({ protocol: usual, on: { [name]: on } });
      const connecting = VhostUserTransport.connect(channel, host, { ...ids, limit });
      const outcome = connecting.then(async (transport) => {
        // What comes behind an answer is seen with the next one.
        const gone = new Promise<Error>((resolve) =>
          transport.listen({ usedBuffer() {}, configChange() {}, gone: resolve }),
        );
        await transport.readDeviceFeatures();
        const error = await gone;
        await transport.close();
        throw error;
      });
      await expect(outcome).rejects.toMatchObject({ code });
      backEnd.drop();
      expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
    },
  );

  it('that answers with more configuration than asked for is left', async () => {
    const on: Handler = (_, b) =>
      b.stream.reply('GET_CONFIG', { offset: 0, size: 4, flags: 0, region: [1, 2, 3, 4] });
    const { transport, backEnd } = await connected({ on: { GET_CONFIG: on } });
    await expect(transport.readConfig(0, 2)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    await vi.waitFor(() => expect(backEnd.over).toBe('quietly'));
    await expect(transport.readStatus()).rejects.toBeInstanceOf(PeerError);
  });

  it('that lies of the length of the configuration is left', async () => {
    const on: Handler = (_, b) =>
      b.stream.reply('GET_CONFIG', { offset: 0, size: 2, flags: 0, region: [1, 2, 3, 4] });
    const { transport } = await connected({ on: { GET_CONFIG: on } });
    await expect(transport.readConfig(0, 2)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
  });

  it('that claims more queues than can be is believed no further than the messages reach', async () => {
    const { transport } = await connected({ queues: 2n ** 64n - 1n });
    expect([await transport.queueMaxSize(255), await transport.queueMaxSize(256)]).toEqual([1024, 0]);
    const none = await connected({ queues: 0n });
    const opening = open(none.transport, entropy, { features: [] });
    await expect(opening).rejects.toMatchObject({ code: 'QUEUE_MISSING' });
  });

  it('that stops another ring is left', async () => {
    const on: Handler = (_, b) => b.stream.reply('GET_VRING_BASE', { index: 3, num: 0 });
    const { transport } = await started({ on: { GET_VRING_BASE: on } });
    await expect(transport.writeStatus(0)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
  });

  it('that lends nonsense for what is in flight is left, or done without', async () => {
    const huge: Handler = (_, b) => {
      const memory = b.host.createMemory(8);
      b.stream.reply('GET_INFLIGHT_FD', { mmap_size: 2n ** 63n }, [memory]);
      memory.close();
    };
    const protocol: readonly ProtocolFeatureName[] = [...usual, 'INFLIGHT_SHMFD'];
    await expect(started({ protocol, on: { GET_INFLIGHT_FD: huge } })).rejects.toMatchObject({
      code: 'BAD_RESPONSE',
    });
    const nothing: Handler = (_, b) => b.stream.reply('GET_INFLIGHT_FD', {});
    const { backEnd } = await started({ protocol, on: { GET_INFLIGHT_FD: nothing } });
    expect(backEnd.heard).not.toContain('SET_INFLIGHT_FD');
  });

  it('that never answers keeps nobody from closing', async () => {
    const { host, backEnd, transport } = await started({ on: { GET_VRING_BASE: () => {} } });
    await transport.close();
    backEnd.drop();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('that goes away fails whatever is asked from then on', async () => {
    const { backEnd, transport } = await started();
    const gone = vi.fn<(error: Error) => void>();
    transport.listen({ usedBuffer() {}, configChange() {}, gone });
    backEnd.stream.close();
    await vi.waitFor(() => expect(gone).toHaveBeenCalledTimes(1));
    await expect(transport.readStatus()).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    transport.kick(0);
    await transport.close();
  });
});

describe('a new connection', () => {
  const protocol: readonly ProtocolFeatureName[] = [...usual, 'INFLIGHT_SHMFD'];
  type Restarting = NonNullable<NotificationListener['restarting']>;
  const listener = (restarting: Restarting) => ({
    usedBuffer() {},
    configChange: vi.fn(),
    gone: vi.fn<(error: Error) => void>(),
    restarting,
  });

  async function lost(
    second: Script,
    restarting: Restarting = () => ({ available: 5, used: 5 }),
    first: Script = { protocol },
  ) {
    const host = new InMemoryDescriptors();
    const successors: ReturnType<typeof scripted>[] = [];
    const reconnect = vi.fn(async (attempt: number): Promise<Channel | undefined> => {
      if (attempt > 3) return undefined;
      const one = scripted(second, host);
      successors.push(one);
      return one.channel;
    });
    const pair = scripted(first, host);
    const transport = await VhostUserTransport.connect(pair.channel, host, { ...ids, limit, reconnect });
    const heard = listener(restarting);
    transport.listen(heard);
    await transport.writeDriverFeatures(FeatureSet.of([32]));
    await transport.enableQueue(0, { size: 8, descriptor: 4096, driver: 8192, device: 12288 });
    await transport.writeStatus(allUp);
    pair.backEnd.drop();
    return { host, transport, successors, reconnect, heard };
  }

  it('takes the place of one that ended: all is set up again', async () => {
    const { transport, successors, heard, reconnect } = await lost({ protocol });
    await vi.waitFor(() => expect(heard.configChange).toHaveBeenCalledTimes(1));
    const { heard: messages, payloads } = successors[0]!.backEnd;
    expect(messages.slice(5)).toEqual([
      ...[
        'SET_FEATURES',
        'SET_INFLIGHT_FD',
        'SET_MEM_TABLE',
        'SET_VRING_NUM',
        'SET_VRING_BASE',
        'SET_VRING_ADDR',
      ],
      ...['SET_VRING_CALL', 'SET_VRING_ERR', 'SET_VRING_KICK', 'SET_VRING_ENABLE'],
    ]);
    expect(vhost_vring_state.read(dataView(payloads.get('SET_VRING_BASE')))).toEqual({ index: 0, num: 5 });
    expect(reconnect).toHaveBeenCalledTimes(1);
    expect(await transport.readStatus()).toBe(allUp);
    await transport.close();
  });

  it('tells the driver whether the new back end remembers', async () => {
    const restarting = vi.fn(() => ({ available: 0, used: 0 }));
    const { heard, transport } = await lost({ protocol: usual }, restarting);
    await vi.waitFor(() => expect(heard.configChange).toHaveBeenCalled());
    expect(restarting).toHaveBeenCalledWith(0, false);
    await transport.close();
    const again = await lost({ protocol }, restarting);
    await vi.waitFor(() => expect(again.heard.configChange).toHaveBeenCalled());
    expect(restarting).toHaveBeenLastCalledWith(0, true);
    await again.transport.close();
  });

  it('tells a back end that has a status all of it', async () => {
    const both: Script = { protocol: [...protocol, 'STATUS'] };
    const { heard, successors, transport } = await lost(both, undefined, both);
    await vi.waitFor(() => expect(heard.configChange).toHaveBeenCalled());
    expect(successors[0]?.backEnd.status).toBe(BigInt(allUp));
    await transport.close();
  });

  it('is tried again while it ends as well, until there is none', async () => {
    const ends: Handler = (_, b) => b.stream.close();
    const { heard, reconnect, transport, host } = await lost({ protocol, on: { SET_VRING_KICK: ends } });
    await vi.waitFor(() => expect(heard.gone).toHaveBeenCalledTimes(1));
    expect(reconnect).toHaveBeenCalledTimes(4);
    expect(heard.gone.mock.calls[0]?.[0]).toMatchObject({ code: 'DEVICE_GONE' });
    await transport.close();
    expect(host.watched).toBe(0);
  });

  const hopeless: readonly (readonly [string, Script, Restarting | undefined, string])[] = [
    ['offers less', { protocol, features: protocolBit }, undefined, 'OFFER_INVALID'],
    ['finds a ring that it cannot go on with', { protocol }, () => undefined, 'DEVICE_GONE'],
    [
      'breaks the protocol',
      { protocol, on: { GET_FEATURES: (m, b) => b.raw(m.form.id, messageFlags.REPLY, new Uint8Array(3)) } },
      undefined,
      'BAD_MESSAGE',
    ],
  ];
  it.each(hopeless)('that %s is left for good', async (_what, second, restarting, code) => {
    const { heard, reconnect, transport } = await lost(second, restarting);
    await vi.waitFor(() => expect(heard.gone).toHaveBeenCalledTimes(1));
    expect((heard.gone.mock.calls[0]?.[0] as VirtioError | undefined)?.code).toBe(code); // all that we report are
    expect(reconnect).toHaveBeenCalledTimes(1);
    await transport.close();
  });

  it('is asked once more what the other did not answer', async () => {
    const ends: Handler = (_, b) => b.drop();
    const config = Uint8Array.of(1, 2, 3);
    const first: Script = { protocol, on: { GET_CONFIG: ends, SET_VRING_ENABLE: ends } };
    const { transport, successors, heard } = await lost({ protocol, config }, undefined, first);
    expect(successors).toHaveLength(1);
    expect([...(await transport.readConfig(1, 2))]).toEqual([2, 3]);
    await transport.resetQueue(0);
    expect(heard.gone).not.toHaveBeenCalled();
    await transport.close();
  });

  it('is waited for by what is asked meanwhile', async () => {
    const { transport } = await lost({ protocol });
    expect(await transport.readStatus()).toBe(allUp);
    await transport.close();
  });
});
