import { describe, expect, it } from 'vitest';
import { device } from '../../device/device.ts';
import { finished } from '../../link/offload.ts';
import { offloadOf, type PacketOptions, packet } from '../../link/packets.fixture.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { netDevice } from './device.ts';
import { driverFeatures, openNet } from './driver.ts';
import { queueCoalescing, setCoalescing, setQueueCoalescing } from './driver-coalescing.ts';
import { openRssContexts, setHashes, setHashTunnels, setRss } from './driver-rss.ts';
import { readStatistics } from './driver-statistics.ts';
import { le16 } from './le.fixture.ts';
import type { NetOptions } from './options.ts';
import { PacketHash } from './packet-hash.ts';
import { Far, frameOf } from './raw-guest.fixture.ts';
import { type NetFeature, net } from './spec.ts';
import { hashReport, hashTunnelType, hashType } from './spec-hash.ts';
import { Toeplitz } from './toeplitz.ts';

const key = Uint8Array.from({ length: 40 }, (_, i) => 5 * i + 2);
const everything: readonly NetFeature[] = [...driverFeatures, 'HASH_REPORT', 'OUT_NET_HEADER', 'RSC_EXT'];
const never = (): (() => void) => () => {};

async function opened(options: NetOptions = {}, features: readonly NetFeature[] = everything) {
  const made = netDevice({
    queuePairs: 4,
    timer: never,
    also: ['HASH_REPORT', 'OUT_NET_HEADER', 'RSC_EXT'],
    ...options,
  });
  const far = new Far(made.endpoint);
  const card = await openNet(new Loopback(made), { queuePairs: 4, features });
  await card.setMode('promiscuous', true);
  return { device: made, far, card };
}

/** A device that answers every command with the same bytes. */
async function answering(...answer: readonly number[]) {
  const made = device(net, {
    offers: ['CTRL_VQ', 'DEVICE_STATS', 'RSS', 'RSS_CONTEXT', 'VQ_NOTF_COAL'],
    config: { max_virtqueue_pairs: 1 },
    serve: { controlq: (chain) => void chain.writable.write(Uint8Array.from(answer)) },
    available: { receiveq: () => {}, transmitq: () => {} },
  });
  return openNet(new Loopback(made));
}

const refusal = (code: string) => expect.objectContaining({ code });

const options: PacketOptions = { version: 4, protocol: 'tcp', payload: new Uint8Array(3000) };

describe('a driver that has frames spread by their hashes', () => {
  // @holds 5.1.9.5.7.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS)
  it('gives the device a table, and gets frames with their hashes', async () => {
    const { device: made, far, card } = await opened();
    await setRss(card, { types: hashType.TCPv4, key, table: [2, 3], unclassified: 1 });
    const { frame } = packet({ ...options, payload: new Uint8Array(60) });
    const hash = new PacketHash();
    hash.calculate(frame, hashType.TCPv4, new Toeplitz(key), 0);
    far.device.receive(frame, finished);
    expect(await card.receive()).toMatchObject({
      frame,
      hash: { value: hash.value, report: hashReport.TCPv4 },
    });
    expect(made.received[2 + (hash.value & 1)]!.packets).toBe(1);
    far.device.receive(frameOf(60), finished);
    expect((await card.receive())?.hash).toBeUndefined();
    expect(made.received[1]!.packets).toBe(1);
  });

  // @holds 5.1.9.5.7.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS)
  it('asks for nothing that the device does not allow', async () => {
    const { card } = await opened();
    const good = { types: 1, key, table: [0, 1] };
    const bad = [
      { ...good, types: 0x200 },
      { ...good, key: new Uint8Array(41) },
      { ...good, table: [] },
      { ...good, table: [0, 1, 2] },
      { ...good, table: new Array<number>(256).fill(0) },
      { ...good, table: [4] },
      { ...good, table: [0.5] },
      { ...good, unclassified: 4 },
      { ...good, transmitQueues: 0 },
      { ...good, transmitQueues: 5 },
    ];
    for (const one of bad) await expect(setRss(card, one)).rejects.toEqual(refusal('BAD_ARGUMENT'));
    const { card: plain } = await opened({}, ['CTRL_VQ', 'CTRL_RX', 'MQ']);
    await expect(setRss(plain, { types: 0, key: key.subarray(0, 0), table: [0] })).rejects.toEqual(
      refusal('NOT_NEGOTIATED'),
    );
  });

  it('has hashes reported of frames that come as ever', async () => {
    const { far, card } = await opened({ queuePairs: 1 }, ['CTRL_VQ', 'CTRL_RX', 'HASH_REPORT']);
    await setHashes(card, { types: hashType.IPv4, key });
    far.device.receive(packet({ ...options, payload: new Uint8Array(9) }).frame, finished);
    expect((await card.receive())?.hash).toMatchObject({ report: hashReport.IPv4 });
    await expect(setHashes(card, { types: 1 << 12, key })).rejects.toEqual(refusal('BAD_ARGUMENT'));
  });

  // @holds 5.1.9.4.4.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Inner Header Hash
  it('has inner headers hashed of encapsulations that the device knows', async () => {
    const { card } = await opened();
    await setHashTunnels(card, hashTunnelType.GENEVE | hashTunnelType.IPIP);
    await expect(setHashTunnels(card, 1 << 9)).rejects.toEqual(refusal('BAD_ARGUMENT'));
    const { card: plain } = await opened({}, ['CTRL_VQ', 'CTRL_RX', 'MQ']);
    await expect(setHashTunnels(plain, 0)).rejects.toEqual(refusal('NOT_NEGOTIATED'));
  });

  // @holds 5.1.9.5.8.4 driver: Device Types / Network Device / Device Operation / Control Virtqueue / RSS Context
  it('has contexts, with ids from 1 to as many as there are', async () => {
    const { card } = await opened({ rssContexts: 2 });
    const contexts = await openRssContexts(card);
    expect(contexts.most).toBe(2);
    const rss = { types: 1, key, table: [0, 1] };
    await contexts.add(2, rss);
    await contexts.change(2, { ...rss, table: [3] });
    await contexts.remove(2);
    await expect(contexts.remove(2)).rejects.toEqual(refusal('IO_ERROR'));
    for (const id of [0, 3, 1.5])
      await expect(contexts.add(id, rss)).rejects.toEqual(refusal('BAD_ARGUMENT'));
    const { card: plain } = await opened({}, ['CTRL_VQ', 'CTRL_RX', 'MQ', 'RSS']);
    await expect(openRssContexts(plain)).rejects.toEqual(refusal('NOT_NEGOTIATED'));
    await expect(answering(0, 0, 0).then(openRssContexts)).rejects.toEqual(refusal('BAD_RESPONSE'));
    await expect(answering(0, 9).then(openRssContexts)).rejects.toEqual(refusal('BAD_RESPONSE'));
  });
});

describe('a driver that has notifications held back', () => {
  // @holds 5.1.9.5.10.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('says so for all queues of a kind, or for one', async () => {
    const { card } = await opened();
    await setCoalescing(card, 'receive', { packets: 1, microseconds: 2 });
    await setCoalescing(card, 'transmit', { packets: 3, microseconds: 4 });
    await setQueueCoalescing(card, { kind: 'receive', number: 2 }, { packets: 5, microseconds: 6 });
    const of = (kind: 'receive' | 'transmit', number: number) => queueCoalescing(card, { kind, number });
    expect(await of('receive', 2)).toEqual({ packets: 5, microseconds: 6 });
    expect(await of('receive', 3)).toEqual({ packets: 1, microseconds: 2 });
    expect(await of('transmit', 2)).toEqual({ packets: 3, microseconds: 4 });
    for (const number of [-1, 4, 0.5])
      await expect(of('receive', number)).rejects.toEqual(refusal('BAD_ARGUMENT'));
    for (const packets of [-1, 2 ** 32, 0.5]) {
      await expect(setCoalescing(card, 'receive', { packets, microseconds: 0 })).rejects.toEqual(
        refusal('BAD_ARGUMENT'),
      );
    }
  });

  // @holds 5.1.9.5.10.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('needs the features', async () => {
    const { card } = await opened({}, ['CTRL_VQ', 'CTRL_RX', 'MQ', 'VQ_NOTF_COAL']);
    const settings = { packets: 1, microseconds: 1 };
    await expect(setCoalescing(card, 'receive', settings)).rejects.toEqual(refusal('NOT_NEGOTIATED'));
    const { card: other } = await opened({}, ['CTRL_VQ', 'CTRL_RX', 'MQ', 'NOTF_COAL']);
    const queue = { kind: 'receive', number: 0 } as const;
    await expect(setQueueCoalescing(other, queue, settings)).rejects.toEqual(refusal('NOT_NEGOTIATED'));
    await expect(queueCoalescing(other, queue)).rejects.toEqual(refusal('NOT_NEGOTIATED'));
  });

  // @holds 5.1.9.5.10.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
  it('takes no settings out of a refusal, nor out of half an answer', async () => {
    const queue = { kind: 'receive', number: 0 } as const;
    const refused = await answering(1, 1, 0, 0, 0, 1, 0, 0, 0);
    await expect(queueCoalescing(refused, queue)).rejects.toEqual(refusal('IO_ERROR'));
    const half = await answering(0, 1, 0, 0, 0, 1);
    await expect(queueCoalescing(half, queue)).rejects.toEqual(refusal('BAD_RESPONSE'));
  });
});

describe('a driver that asks for statistics', () => {
  // @holds 5.1.9.5.11.13 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
  it('gets those of its queues, of the types that the device has', async () => {
    const { far, card } = await opened({ speed: 1000 });
    await card.send(frameOf(70));
    far.device.receive(frameOf(60), finished);
    await card.receive();
    const { receive, transmit, control } = await readStatistics(card);
    expect(receive).toHaveLength(4);
    expect(receive[0]).toMatchObject({ rx_packets: 1n, rx_bytes: 60n, rx_csum_none: 1n, rx_gso_packets: 0n });
    expect(receive[0]).toHaveProperty('rx_packets_allowance_exceeded', 0n);
    expect(transmit[0]).toMatchObject({ tx_packets: 1n, tx_bytes: 70n, tx_csum_none: 1n });
    expect(receive[3]).toMatchObject({ rx_packets: 0n });
    expect(control.command_num).toBeGreaterThan(2n);
    const { card: few } = await opened({ queuePairs: 1 }, ['CTRL_VQ', 'CTRL_RX', 'DEVICE_STATS']);
    const less = await readStatistics(few);
    expect(Object.keys(less.receive[0]!)).not.toContain('rx_csum_none');
    expect(less.control).toHaveProperty('ok_num');
  });

  it.each([
    ['no types', [0, 1, 2]],
    ['a reply that is cut short', [0, 1, 0, 0, 0, 0, 0, 0, 0]],
  ])('finds fault with %s', async (_, answer) => {
    const card = await answering(...answer);
    await expect(readStatistics(card)).rejects.toEqual(refusal('BAD_RESPONSE'));
  });

  it.each([
    ['a queue that was not asked for', [0, 0, ...le16(9, 0, 56), ...new Array<number>(48).fill(0)]],
    ['a structure that is cut short', [0, 0, ...le16(0, 0, 16), ...new Array<number>(8).fill(0)]],
    ['a length behind the end', [0, 0, ...le16(0, 0, 57), ...new Array<number>(48).fill(0)]],
    ['a length that is none', [0, 0, ...le16(0, 0, 7), ...new Array<number>(48).fill(0)]],
  ])('finds fault with %s', async (_, reply) => {
    let asked = 0;
    const made = device(net, {
      offers: ['CTRL_VQ', 'DEVICE_STATS'],
      serve: {
        controlq(chain) {
          const types = [0, 1, 0, 0, 0, 0, 0, 0, 0];
          chain.writable.write(Uint8Array.from(asked++ === 0 ? types : [0, ...reply]));
        },
      },
      available: { receiveq: () => {}, transmitq: () => {} },
    });
    const card = await openNet(new Loopback(made));
    await expect(readStatistics(card)).rejects.toEqual(refusal('BAD_RESPONSE'));
  });
});

describe('what headers tell besides', () => {
  it('is of segments that were put together, with RSC_EXT, and the driver finds the checksum all the same', async () => {
    const { far, card } = await opened();
    for (const version of [4, 6] as const) {
      const own: PacketOptions = { ...options, version, tcpOptions: 3, tags: 1 };
      const made = packet(own);
      const offload = offloadOf(own, made, 1000);
      far.device.receive(made.frame, offload);
      expect(await card.receive()).toMatchObject({ frame: made.frame, offload });
    }
  });

  it('is where the network header begins, with OUT_NET_HEADER, in either direction', async () => {
    const { far, card } = await opened();
    const { frame } = packet({ ...options, payload: new Uint8Array(9), tags: 2 });
    await card.send(frame);
    expect(far.frames[0]?.frame).toEqual(frame);
    far.device.receive(frame, finished);
    expect((await card.receive())?.frame).toEqual(frame);
  });
});
