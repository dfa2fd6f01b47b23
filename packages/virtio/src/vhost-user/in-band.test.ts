import { describe, expect, it, vi } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { entropyDevice } from '../devices/entropy/device.ts';
import { openEntropy } from '../devices/entropy/driver.ts';
import { PeerError } from '../errors.ts';
import { fixtures } from '../testing/fixtures/index.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import { VhostUserBackend } from './backend.ts';
import { connect, quiet } from './front-end.fixture.ts';
import { VhostUserTransport } from './frontend.ts';
import { InBandNotifier } from './in-band.ts';
import { MessageStream, type ReceivedMessage } from './message-stream.ts';
import { backEndMessages } from './messages.ts';
import { vhost_vring_state } from './payloads.ts';
import { protocolFeatureBits } from './protocol.ts';
import { scripted } from './scripted-back-end.fixture.ts';

const all = ['REPLY_ACK', 'BACKEND_REQ', 'INBAND_NOTIFICATIONS'] as const;
const rng = () => entropyDevice({ source: (target) => void target.fill(9) });

describe.each(fixtures)('the $name whose rings are told of by messages', (fixture) => {
  it.each([[['VERSION_1', 'EVENT_IDX'] as const], [['VERSION_1', 'RING_PACKED'] as const]])(
    'does all that it can do with %s',
    async (reserved) => {
      const host = new InMemoryDescriptors();
      const signal = vi.spyOn(host, 'signal');
      const [near, far] = channelPair();
      const device = fixture.make(reserved);
      const backend = new VhostUserBackend(device, far, host, { packedRing, inBand: true });
      const transport = await VhostUserTransport.connect(near, host, {
        deviceId: fixture.type.id,
        config: device.configSpace.bytes.slice(),
        inBand: true,
      });
      expect(transport.session.has('INBAND_NOTIFICATIONS')).toBe(true);
      await fixture.exercise(transport, { reserved, indirectPolicy: 'never' });
      await transport.close();
      backend.close();
      expect(signal).not.toHaveBeenCalled();
      expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
    },
  );
});

describe('notifications by messages', () => {
  it('are not agreed on unless the front end is told to', async () => {
    for (const [options, expected] of [
      [{}, false],
      [{ inBand: true }, true],
      [{ inBand: true, without: ['REPLY_ACK'] }, false],
      [{ inBand: true, without: ['BACKEND_REQ'] }, false],
    ] as const) {
      const { channel, host } = scripted({ protocol: all });
      const transport = await VhostUserTransport.connect(channel, host, {
        deviceId: 4,
        memory: 2 ** 20,
        ...options,
      });
      expect(transport.session.has('INBAND_NOTIFICATIONS')).toBe(expected);
    }
  });

  it('are one at a time for a ring, and none is lost', async () => {
    const heard: (() => void)[] = [];
    const notifier = new InBandNotifier(() => new Promise((resolve) => void heard.push(resolve)));
    for (let i = 0; i < 5; i++) notifier.notify();
    expect(heard).toHaveLength(1);
    heard[0]?.();
    await quiet();
    expect(heard).toHaveLength(2);
    heard[1]?.();
    await quiet();
    expect(heard).toHaveLength(2);
    notifier.notify();
    expect(heard).toHaveLength(3);
  });

  it('end when nobody hears them', async () => {
    let asked = 0;
    const notifier = new InBandNotifier(async () => {
      asked++;
      throw new PeerError('COMMAND_FAILED', 'refused');
    });
    notifier.notify();
    notifier.notify();
    await quiet();
    expect(asked).toBe(1);
  });
});

/** A back end, and its own channel as a front end hears it. */
function withChannel(protocol: readonly (typeof all)[number][] = all) {
  const { host, front, backend } = connect(rng(), undefined, { inBand: true });
  const heard: ReceivedMessage[] = [];
  const { channel, other } = host.createChannel();
  const stream: MessageStream<typeof backEndMessages> = new MessageStream(
    channel,
    backEndMessages,
    'requests',
    {
      received(message) {
        heard.push(message);
        // The stream knows no other names.
        stream.acknowledge(message.name as keyof typeof backEndMessages, true);
      },
      closed() {},
    },
  );
  front.begin({ protocol });
  return { host, front, backend, heard, stream, other };
}

describe('a back end', () => {
  it.each([
    [['INBAND_NOTIFICATIONS'] as const],
    [['INBAND_NOTIFICATIONS', 'REPLY_ACK'] as const],
    [['INBAND_NOTIFICATIONS', 'BACKEND_REQ'] as const],
  ])('ends the connection of a front end that wants %s and nothing else', async (protocol) => {
    const { host, front } = connect(rng(), undefined, { inBand: true });
    front.stream.request('SET_PROTOCOL_FEATURES', { u64: protocolFeatureBits(protocol) });
    await quiet();
    expect(front.over).not.toBeUndefined();
    front.close();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('starts a ring at a kick that is a message, and calls by one', async () => {
    const { front, heard, stream, other, host } = withChannel();
    front.stream.request('SET_BACKEND_REQ_FD', {}, { descriptors: [other] });
    other.close();
    const { size, descriptor, driver, device } = front.areas({});
    const user = (address: number): bigint => 0x7fff_0000_0000n + BigInt(address);
    front.stream.request('SET_VRING_NUM', { index: 0, num: size });
    front.stream.request('SET_VRING_BASE', { index: 0, num: 0 });
    front.stream.request('SET_VRING_ADDR', {
      index: 0,
      desc_user_addr: user(descriptor),
      avail_user_addr: user(driver),
      used_user_addr: user(device),
    });
    front.stream.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    const ring = front.driver().queue;
    ring.submit([], [{ address: 0x1_0000, length: 4 }], 1);
    ring.publish();
    // Two replies to what was asked at the beginning.
    await front.reply();
    await front.reply();
    expect(ring.poll()).toBeUndefined();
    expect(await front.acknowledged('VRING_KICK', { index: 0, num: 0 })).toBe(true);
    await quiet();
    expect(ring.poll()).toMatchObject({ token: 1, written: 4 });
    expect(heard.map(({ name }) => name)).toContain('VRING_CALL');
    expect(heard.every((message) => message.read(vhost_vring_state).index === 0)).toBe(true);
    // An event is preferred, once there is one.
    const before = heard.length;
    front.stream.request('SET_VRING_CALL', { u64: 0n }, { descriptors: [front.call] });
    ring.submit([], [{ address: 0x1_0000, length: 4 }], 2);
    ring.publish();
    await front.acknowledged('VRING_KICK', { index: 0, num: 0 });
    await quiet();
    expect([heard.length, front.calls > 0]).toEqual([before, true]);
    stream.close();
    front.close();
    await quiet();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it.each([
    ['a number', { index: 0, num: 1 }],
    ['no such ring', { index: 9, num: 0 }],
  ])('ends the connection over a kick with %s', async (_, state) => {
    const { front, stream, other, host } = withChannel();
    other.close();
    front.stream.request('VRING_KICK', state);
    await quiet();
    expect(front.over).not.toBeUndefined();
    stream.close();
    front.close();
    await quiet();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('takes no such kick unless that was agreed on', async () => {
    const { host, front } = connect(rng(), undefined, { inBand: true });
    front.begin({ protocol: ['REPLY_ACK'] });
    front.stream.request('VRING_KICK', { index: 0, num: 0 });
    await quiet();
    expect(front.over).not.toBeUndefined();
    front.close();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });
});

describe('a front end', () => {
  /** The back end's own channel to a front end whose ring 0 is there. */
  async function lent(inBand: boolean) {
    const { channel, host, backEnd } = scripted({ protocol: all });
    const transport = await VhostUserTransport.connect(channel, host, {
      deviceId: 4,
      memory: 2 ** 20,
      inBand,
    });
    const results: bigint[] = [];
    const own: Channel = host.openChannel(backEnd.descriptor('SET_BACKEND_REQ_FD'));
    const stream = new MessageStream(own, backEndMessages, 'replies', {
      received: (message) => void results.push(message.payload[0] === 0 ? 0n : 1n),
      closed() {},
    });
    const place = (length: number): number => transport.allocator.allocate(length, 16);
    await transport.enableQueue(0, {
      size: 8,
      descriptor: place(128),
      driver: place(64),
      device: place(128),
    });
    const tell = async (name: 'VRING_CALL' | 'VRING_ERR', index: number, num: number) => {
      stream.request(name, { index, num }, { needReply: true });
      await quiet();
      return results.pop();
    };
    return { transport, tell };
  }

  it('hears of its rings, and of no other', async () => {
    const { transport, tell } = await lent(true);
    const heard: unknown[] = [];
    transport.listen({
      usedBuffer: (index) => void heard.push(index),
      configChange() {},
      gone: (error) => void heard.push(error),
    });
    expect(await tell('VRING_CALL', 0, 0)).toBe(0n);
    expect(await tell('VRING_CALL', 1, 0)).toBe(1n);
    expect(await tell('VRING_CALL', 0, 1)).toBe(1n);
    expect(heard).toEqual([0]);
    expect(await tell('VRING_ERR', 0, 0)).toBe(0n);
    expect(heard[1]).toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
  });

  it('refuses such messages where they were not agreed on', async () => {
    const { tell } = await lent(false);
    expect(await tell('VRING_CALL', 0, 0)).toBe(1n);
  });

  it('fills a buffer of its driver by messages alone', async () => {
    const host = new InMemoryDescriptors();
    const [near, far] = channelPair();
    const backend = new VhostUserBackend(rng(), far, host, { packedRing, inBand: true });
    const transport = await VhostUserTransport.connect(near, host, { deviceId: 4, inBand: true });
    const entropy = await openEntropy(transport);
    for (let i = 0; i < 20; i++) expect([...(await entropy.read(3))]).toEqual([9, 9, 9]);
    await entropy.close();
    backend.close();
  });
});
