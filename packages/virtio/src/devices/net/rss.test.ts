import { describe, expect, it } from 'vitest';
import type { Json } from '../../device/json.ts';
import { restoreDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import { put16 } from '../../link/bytes.ts';
import { finished } from '../../link/offload.ts';
import { inTunnel, packet } from '../../link/packets.fixture.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { netDevice } from './device.ts';
import { le16, le32 } from './le.fixture.ts';
import { PacketHash } from './packet-hash.ts';
import { Far, frameOf, pairsOf, RawGuest } from './raw-guest.fixture.ts';
import type { NetFeature } from './spec.ts';
import { controlClass, mqCommand } from './spec-control.ts';
import { hashReport, hashTunnelType, hashType, rssContextCommand } from './spec-hash.ts';
import { Toeplitz } from './toeplitz.ts';

const key = Array.from({ length: 40 }, (_, i) => 3 * i + 1);
const toeplitz = new Toeplitz(Uint8Array.from(key));
const ok = Uint8Array.of(0);
const refused = Uint8Array.of(1);

interface Rss {
  types?: number;
  mask?: number;
  unclassified?: number;
  table?: readonly number[];
  transmit?: number;
  keyLength?: number;
  key?: readonly number[];
}

/** The data of RSS_CONFIG. */
function rssData(rss: Rss = {}): number[] {
  const { types = 0x1ff, table = [0, 1, 2, 3], unclassified = 3, transmit = 4 } = rss;
  const { mask = table.length - 1, key: own = key, keyLength = own.length } = rss;
  return [...le32(types), ...le16(mask, unclassified, ...table, transmit), keyLength, ...own];
}

function hashData({ types = 0x1ff, key: own = key, keyLength = own.length }: Rss = {}): number[] {
  return [...le32(types), ...le16(0, 0, 0, 0), keyLength, ...own];
}

const { MQ, HASH_TUNNEL, RSS_CTX } = controlClass;

async function opened(features: readonly NetFeature[], also: readonly NetFeature[] = ['HASH_REPORT']) {
  const device = netDevice({ queuePairs: 4, also, rssContexts: 2 });
  const far = new Far(device.endpoint);
  const hasPairs = features.includes('MQ') || features.includes('RSS');
  const queues = pairsOf(hasPairs ? 4 : 1);
  const guest = await RawGuest.open(device, ['CTRL_VQ', ...features], { queues });
  return { device, far, guest };
}

/** Frames of so many flows. */
function flows(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const made = packet({ version: i % 2 === 0 ? 4 : 6, protocol: 'tcp', payload: new Uint8Array(20) });
    put16(made.frame, made.transportAt, 1000 + 37 * i);
    return made.frame;
  });
}

function hashOf(frame: Uint8Array, types = 0x1ff, tunnels = 0): PacketHash {
  const hash = new PacketHash();
  hash.calculate(frame, types, toeplitz, tunnels);
  return hash;
}

describe('receive-side scaling', () => {
  // @holds 5.1.9.5.7.3 device: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS) / RSS processing
  it('puts each frame into the queue that the table has for its hash, and others where they are to go', async () => {
    const { device, far, guest } = await opened(['RSS', 'HASH_REPORT']);
    const table = [3, 1, 2, 0, 1, 1, 2, 3];
    expect(await guest.command(MQ, mqCommand.RSS_CONFIG, rssData({ table, unclassified: 2 }))).toEqual(ok);
    const queues = new Set<number>();
    for (const frame of flows(24)) {
      const { value, report } = hashOf(frame);
      const queue = table[value & 7]!;
      queues.add(queue);
      const heard = guest.hear(2048, queue);
      expect(far.device.receive(frame, finished)).toBe(true);
      expect((await heard).header).toMatchObject({ hash_value: value, hash_report: report });
    }
    expect(queues.size).toBe(4);
    const heard = guest.hear(2048, 2);
    far.device.receive(frameOf(60), finished);
    expect((await heard).header).toMatchObject({ hash_value: 0, hash_report: hashReport.NONE });
    expect(device.received.map(({ packets }) => packets).reduce((a, b) => a + b)).toBe(25);
    expect(guest.errors).toEqual([]);
  });

  // @holds 5.1.9.5.7.3 device: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS) / RSS processing
  it('drops what is for a queue that is being reset', async () => {
    const { device, far, guest } = await opened(['RSS']);
    await guest.command(MQ, mqCommand.RSS_CONFIG, rssData({ table: [1] }));
    void guest.hear(2048, 0);
    const lost = guest.hear(2048, 1).catch(() => undefined);
    await guest.opened.resetQueue('receiveq', 1);
    await lost;
    expect(far.device.receive(flows(1)[0]!, finished)).toBe(true);
    expect(device.received.map(({ packets, drops }) => [packets, drops])).toEqual([
      [0, 0],
      [0, 1],
      [0, 0],
      [0, 0],
    ]);
  });

  it('gives way to steering by flows, and back: the last command counts', async () => {
    const { far, guest } = await opened(['RSS', 'MQ', 'HASH_REPORT']);
    const frame = flows(1)[0]!;
    const config = rssData({ table: [2] });
    expect(await guest.command(MQ, mqCommand.RSS_CONFIG, config)).toEqual(ok);
    expect(await guest.command(MQ, mqCommand.VQ_PAIRS_SET, le16(1))).toEqual(ok);
    let heard = guest.hear(2048, 0);
    far.device.receive(frame, finished);
    // What is hashed stays as it was.
    expect((await heard).header.hash_value).toBe(hashOf(frame).value);
    expect(await guest.command(MQ, mqCommand.RSS_CONFIG, config)).toEqual(ok);
    heard = guest.hear(2048, 2);
    far.device.receive(frame, finished);
    await heard;
  });

  it.each([
    ['a table that is not all there', { mask: 7 }],
    ['a table of no power of two', { table: [0, 1, 2] }],
    ['a table larger than it can have', { mask: 255, table: new Array(256).fill(0) }],
    ['a mask of all bits', { mask: 0xffff }],
    ['a queue in the table that is not there', { table: [0, 4] }],
    ['a queue for others that is not there', { unclassified: 4 }],
    ['no transmit queue', { transmit: 0 }],
    ['more transmit queues than there are', { transmit: 5 }],
    ['hashes that it does not know', { types: 0x200 }],
    ['a key that is not all there', { keyLength: 41, key: new Array(40).fill(1) }],
    ['a key longer than it can have', { key: new Array(41).fill(1) }],
  ] satisfies [string, Rss][])('refuses %s, and goes on as before', async (_, rss) => {
    const { far, guest } = await opened(['RSS']);
    const config = rssData({ table: [2] });
    expect(await guest.command(MQ, mqCommand.RSS_CONFIG, config)).toEqual(ok);
    expect(await guest.command(MQ, mqCommand.RSS_CONFIG, rssData(rss))).toEqual(refused);
    for (let length = 0; length < config.length; length += 7) {
      const short = config.slice(0, length);
      expect(await guest.command(MQ, mqCommand.RSS_CONFIG, short)).toEqual(refused);
    }
    const heard = guest.hear(2048, 2);
    far.device.receive(flows(1)[0]!, finished);
    await heard;
    expect(guest.errors).toEqual([]);
  });

  it('is not there for a driver that did not negotiate it', async () => {
    const { guest } = await opened(['MQ']);
    for (const data of [rssData(), hashData()]) {
      for (const command of [mqCommand.RSS_CONFIG, mqCommand.HASH_CONFIG, 3]) {
        expect(await guest.command(MQ, command, data)).toEqual(refused);
      }
    }
    expect(await guest.command(RSS_CTX, 0, [], 2)).toEqual(refused);
    expect(await guest.command(HASH_TUNNEL, 0, le32(0))).toEqual(refused);
  });

  it('goes on in another device, as contexts and encapsulations do', async () => {
    const { guest } = await opened(['RSS', 'RSS_CONTEXT', 'HASH_TUNNEL', 'HASH_REPORT']);
    await guest.command(MQ, mqCommand.RSS_CONFIG, rssData({ table: [2] }));
    await guest.command(HASH_TUNNEL, 0, le32(hashTunnelType.VXLAN));
    await guest.command(RSS_CTX, rssContextCommand.ADD, [...le16(1), 0, 0, 0, 0, 0, 0, ...rssData()]);
    const state: DeviceState = JSON.parse(JSON.stringify(guest.transport.save()));
    const other = netDevice({ queuePairs: 4, also: ['HASH_REPORT'], rssContexts: 2 });
    new Far(other.endpoint);
    const restored = new Loopback(other, { memory: guest.transport.memory });
    restoreDevice(restored.core, state);
    restored.core.resume();
    expect(restored.save().device).toEqual(state.device);
    expect(state.device).toMatchObject({ 4: { rss: { table: [2] } }, 7: hashTunnelType.VXLAN, 9: { 1: {} } });
  });

  it('takes nothing up of what no device has saved', async () => {
    const { guest } = await opened(['RSS', 'RSS_CONTEXT', 'HASH_TUNNEL', 'HASH_REPORT']);
    const state: DeviceState = JSON.parse(JSON.stringify(guest.transport.save()));
    const good = { types: 1, key: [1], table: [0], unclassified: 0, transmitQueues: 1 };
    const odd: Json[] = [
      5,
      null,
      [],
      { pairs: 9, rss: { ...good, table: [9] }, hash: { types: 1 << 20, key: [] } },
      { pairs: 'x', rss: { ...good, table: [0, 0, 0] }, hash: { types: 1, key: [300] } },
      { pairs: 0, rss: { ...good, key: [-1] }, hash: { key: 'x' } },
      { rss: { ...good, unclassified: 'x' }, hash: [] },
    ];
    for (const one of odd) {
      const other = netDevice({ queuePairs: 4, also: ['HASH_REPORT'] });
      new Far(other.endpoint);
      const restored = new Loopback(other, { memory: guest.transport.memory });
      const contexts = { 1: one, 99: good, x: good };
      restoreDevice(restored.core, { ...state, device: { 4: one, 7: 'x', 9: contexts } });
      restored.core.resume();
      expect(restored.save().device).toMatchObject({
        4: { pairs: 1, rss: null, hash: { types: 0, key: [] } },
        7: 0,
        9: {},
      });
    }
  });
});

describe('reports of hashes', () => {
  it('are of frames that are not spread by them', async () => {
    const { far, guest } = await opened(['HASH_REPORT']);
    const frame = flows(1)[0]!;
    let heard = guest.hear();
    far.device.receive(frame, finished);
    expect((await heard).header).toMatchObject({ hash_value: 0, hash_report: hashReport.NONE });
    expect(await guest.command(MQ, mqCommand.HASH_CONFIG, hashData({ types: hashType.IPv4 }))).toEqual(ok);
    heard = guest.hear();
    far.device.receive(frame, finished);
    const { value } = hashOf(frame, hashType.IPv4);
    expect((await heard).header).toMatchObject({ hash_value: value, hash_report: hashReport.IPv4 });
  });

  it('take the structure of RSS with a table of one, as Linux sends it', async () => {
    const { guest } = await opened(['HASH_REPORT']);
    const linux = [...le32(0x3f), ...le16(0, 0, 0, 1), 40, ...key];
    expect(await guest.command(MQ, mqCommand.HASH_CONFIG, linux)).toEqual(ok);
    for (const bad of [
      hashData({ types: 1 << 20 }),
      hashData({ key: new Array(41).fill(0) }),
      linux.slice(0, 30),
    ]) {
      expect(await guest.command(MQ, mqCommand.HASH_CONFIG, bad)).toEqual(refused);
    }
  });
});

describe('the hash of inner headers', () => {
  // @holds 5.1.9.4.4.4 device: Device Types / Network Device / Device Operation / Control Virtqueue / Inner Header Hash
  it('is of encapsulations that are enabled, until they are not', async () => {
    const { far, guest } = await opened(['HASH_REPORT', 'HASH_TUNNEL']);
    const inner = packet({ version: 6, protocol: 'udp', payload: new Uint8Array(9) });
    const { frame } = inTunnel(4, inner);
    await guest.command(MQ, mqCommand.HASH_CONFIG, hashData());
    const reported = async (): Promise<number> => {
      const heard = guest.hear();
      far.device.receive(frame, finished);
      return (await heard).header.hash_value;
    };
    const outside = hashOf(frame).value;
    expect(await reported()).toBe(outside);
    expect(await guest.command(HASH_TUNNEL, 0, le32(hashTunnelType.VXLAN))).toEqual(ok);
    expect(await reported()).toBe(hashOf(inner.frame).value);
    expect(await guest.command(HASH_TUNNEL, 0, le32(0x200))).toEqual(refused);
    expect(await guest.command(HASH_TUNNEL, 0, [1, 0])).toEqual(refused);
    expect(await guest.command(HASH_TUNNEL, 1, le32(0))).toEqual(refused);
    expect(await reported()).toBe(hashOf(inner.frame).value);
    expect(await guest.command(HASH_TUNNEL, 0, le32(0))).toEqual(ok);
    expect(await reported()).toBe(outside);
  });
});

describe('RSS contexts', () => {
  const context = (id: number, rss?: Rss): number[] => [...le16(id), 9, 9, 9, 9, 9, 9, ...rssData(rss)];
  const { ADD, MOD, DEL, CAP_GET } = rssContextCommand;

  // @holds 5.1.9.5.8.3 device: Device Types / Network Device / Device Operation / Control Virtqueue / RSS Context
  it('are added, changed and deleted, as many as there can be, and gone with a reset', async () => {
    const { device, guest } = await opened(['RSS', 'RSS_CONTEXT', 'MQ']);
    expect(await guest.command(RSS_CTX, CAP_GET, [], 2)).toEqual(Uint8Array.of(0, 2, 0));
    expect(await guest.command(RSS_CTX, MOD, context(1))).toEqual(refused);
    expect(await guest.command(RSS_CTX, ADD, context(1))).toEqual(ok);
    expect(await guest.command(RSS_CTX, ADD, context(1))).toEqual(refused);
    expect(await guest.command(RSS_CTX, MOD, context(1, { table: [1] }))).toEqual(ok);
    expect(await guest.command(RSS_CTX, ADD, context(2))).toEqual(ok);
    expect(await guest.command(MQ, mqCommand.VQ_PAIRS_SET, le16(2))).toEqual(refused);
    expect(await guest.command(RSS_CTX, DEL, le16(1))).toEqual(ok);
    expect(await guest.command(RSS_CTX, DEL, le16(1))).toEqual(refused);
    await guest.opened.close();
    const again = await RawGuest.open(device, ['CTRL_VQ', 'MQ', 'RSS', 'RSS_CONTEXT']);
    expect(await again.command(RSS_CTX, DEL, le16(2))).toEqual(refused);
    expect(await again.command(MQ, mqCommand.VQ_PAIRS_SET, le16(2))).toEqual(ok);
  });

  it('refuse what cannot be', async () => {
    const { guest } = await opened(['RSS', 'RSS_CONTEXT']);
    for (const id of [0, 3, 0xffff]) {
      expect(await guest.command(RSS_CTX, ADD, context(id))).toEqual(refused);
      expect(await guest.command(RSS_CTX, MOD, context(id))).toEqual(refused);
    }
    expect(await guest.command(RSS_CTX, ADD, context(1, { table: [9] }))).toEqual(refused);
    expect(await guest.command(RSS_CTX, ADD, context(1).slice(0, 20))).toEqual(refused);
    expect(await guest.command(RSS_CTX, DEL, [1])).toEqual(refused);
    expect(await guest.command(RSS_CTX, 4, context(1))).toEqual(refused);
    // There is no room for the answer.
    expect(await guest.command(RSS_CTX, CAP_GET, [], 1)).toEqual(refused);
  });
});
