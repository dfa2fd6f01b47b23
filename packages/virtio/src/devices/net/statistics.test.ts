import { describe, expect, it } from 'vitest';
import { checked, finished, type Offload } from '../../link/offload.ts';
import { offloadOf, type PacketOptions, packet } from '../../link/packets.fixture.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import { netDevice } from './device.ts';
import { le16 } from './le.fixture.ts';
import { Far, frameOf, RawGuest } from './raw-guest.fixture.ts';
import type { NetFeature } from './spec.ts';
import { controlClass } from './spec-control.ts';
import {
  statsCommand,
  statsType,
  virtio_net_stats_cvq,
  virtio_net_stats_reply_hdr,
  virtio_net_stats_rx_basic,
  virtio_net_stats_rx_csum,
  virtio_net_stats_rx_gso,
  virtio_net_stats_rx_speed,
  virtio_net_stats_tx_basic,
  virtio_net_stats_tx_csum,
  virtio_net_stats_tx_gso,
  virtio_net_stats_tx_speed,
} from './spec-stats.ts';

const { STATS } = controlClass;

/** What is asked of one queue. */
function entry(index: number, ...types: readonly number[]): number[] {
  let bitmap = 0n;
  for (const type of types) bitmap |= 1n << BigInt(type);
  const bytes = Array.from({ length: 8 }, (_, i) => Number((bitmap >> BigInt(8 * i)) & 0xffn));
  return [...le16(index), 1, 2, 3, 4, 5, 6, ...bytes];
}

async function opened(features: readonly NetFeature[], options: Parameters<typeof netDevice>[0] = {}) {
  const device = netDevice({ queuePairs: 2, ...options });
  const far = new Far(device.endpoint);
  const guest = await RawGuest.open(device, ['CTRL_VQ', 'DEVICE_STATS', ...features]);
  const get = (data: readonly number[], room = 4096): Promise<Uint8Array> =>
    guest.command(STATS, statsCommand.GET, data, room);
  return { device, far, guest, get };
}

/** Replies, by their headers. */
function repliesOf(answer: Uint8Array): { type: number; vq_index: number; bytes: Uint8Array<ArrayBuffer> }[] {
  expect(answer[0]).toBe(0);
  const found = [];
  for (let at = 1; at < answer.length; ) {
    const hdr = virtio_net_stats_reply_hdr.read(new DataView(answer.slice(at).buffer));
    found.push({ type: hdr.type, vq_index: hdr.vq_index, bytes: answer.slice(at, at + hdr.size) });
    at += hdr.size;
  }
  return found;
}

function read<F extends Fields>(
  layout: Struct<F>,
  bytes: Uint8Array<ArrayBuffer> | undefined,
): StructValue<F> {
  expect(bytes).toHaveLength(layout.size);
  return layout.read(new DataView(bytes!.buffer));
}

const large: PacketOptions = { version: 4, protocol: 'tcp', payload: new Uint8Array(3000) };

describe('statistics', () => {
  // @holds 5.1.9.5.11.12 device: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
  it('are of the types that the driver can ask for', async () => {
    const types = async (features: readonly NetFeature[], options = {}): Promise<bigint> => {
      const { guest } = await opened(features, options);
      const answer = await guest.command(STATS, statsCommand.QUERY, [], 8);
      expect(answer[0]).toBe(0);
      return new DataView(answer.buffer, answer.byteOffset).getBigUint64(1, true);
    };
    const bits = (...all: readonly number[]): bigint =>
      all.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
    const { RX_BASIC, TX_BASIC, CVQ, RX_CSUM, TX_CSUM, RX_GSO, TX_GSO, RX_SPEED, TX_SPEED } = statsType;
    expect(await types([])).toBe(bits(RX_BASIC, TX_BASIC, CVQ));
    expect(await types(['CSUM', 'GUEST_CSUM'])).toBe(bits(RX_BASIC, TX_BASIC, CVQ, RX_CSUM, TX_CSUM));
    expect(
      await types(['CSUM', 'GUEST_CSUM', 'GUEST_TSO6', 'HOST_USO', 'SPEED_DUPLEX'], { speed: 1000 }),
    ).toBe(bits(RX_BASIC, TX_BASIC, CVQ, RX_CSUM, TX_CSUM, RX_GSO, TX_GSO, RX_SPEED, TX_SPEED));
  });

  // @holds 5.1.9.5.11.12 device: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
  it('tell what each queue has done', async () => {
    const features: readonly NetFeature[] = [
      'CSUM',
      'GUEST_CSUM',
      'GUEST_TSO4',
      'HOST_TSO4',
      'SPEED_DUPLEX',
      'MQ',
    ];
    const { far, guest, get } = await opened(features, { speed: 1000 });
    far.takes = { ...far.takes, checksum: true, tcp4: true };
    const made = packet(large);
    const unfinished: Offload = offloadOf(large, made, 1000);
    const heard = Array.from({ length: 4 }, () => guest.hear(4096));
    far.device.receive(frameOf(60), finished);
    far.device.receive(frameOf(61), checked);
    far.device.receive(made.frame, unfinished);
    // No buffer is large enough.
    far.device.receive(packet({ ...large, payload: new Uint8Array(9000) }).frame, finished);
    await Promise.all(heard.slice(0, 3));
    const csum = { flags: 1, csum_start: made.transportAt, csum_offset: 16 };
    await guest.send(frameOf(70));
    await guest.send(made.frame, { ...csum, gso_type: 1, gso_size: 1000, hdr_len: made.payloadAt });
    await guest.send(frameOf(71), { ...csum, csum_start: 5000 });

    const { RX_BASIC, TX_BASIC, CVQ, RX_CSUM, TX_CSUM, RX_GSO, TX_GSO, RX_SPEED, TX_SPEED } = statsType;
    const answer = await get([
      ...entry(0, RX_BASIC, RX_CSUM, RX_GSO, RX_SPEED),
      ...entry(1, TX_BASIC, TX_CSUM, TX_GSO, TX_SPEED),
      ...entry(2, RX_BASIC),
      ...entry(4, CVQ),
    ]);
    const replies = repliesOf(answer);
    const of = (index: number, type: number): Uint8Array<ArrayBuffer> | undefined =>
      replies.find((one) => one.vq_index === index && one.type === type)?.bytes;
    expect(replies).toHaveLength(10);
    const length = BigInt(made.frame.length);
    const rx = read(virtio_net_stats_rx_basic, of(0, RX_BASIC));
    expect(rx).toMatchObject({ rx_packets: 3n, rx_bytes: 121n + length, rx_drops: 1n, rx_drop_overruns: 1n });
    expect(rx.rx_notifications).toBeGreaterThan(0n);
    expect(rx.rx_interrupts).toBeGreaterThan(0n);
    expect(read(virtio_net_stats_rx_csum, of(0, RX_CSUM))).toMatchObject({
      rx_csum_valid: 1n,
      rx_needs_csum: 1n,
      rx_csum_none: 1n,
      rx_csum_bad: 0n,
    });
    expect(read(virtio_net_stats_rx_gso, of(0, RX_GSO))).toMatchObject({
      rx_gso_packets: 1n,
      rx_gso_bytes: length,
    });
    read(virtio_net_stats_rx_speed, of(0, RX_SPEED));
    expect(read(virtio_net_stats_tx_basic, of(1, TX_BASIC))).toMatchObject({
      tx_packets: 2n,
      tx_bytes: 70n + length,
      tx_drops: 1n,
      tx_drop_malformed: 1n,
    });
    expect(read(virtio_net_stats_tx_csum, of(1, TX_CSUM))).toMatchObject({
      tx_csum_none: 1n,
      tx_needs_csum: 1n,
    });
    expect(read(virtio_net_stats_tx_gso, of(1, TX_GSO))).toMatchObject({
      tx_gso_packets: 1n,
      tx_gso_bytes: length,
      tx_gso_segments: 0n,
      tx_gso_packets_noseg: 1n,
      tx_gso_bytes_noseg: length,
    });
    read(virtio_net_stats_tx_speed, of(1, TX_SPEED));
    expect(read(virtio_net_stats_rx_basic, of(2, RX_BASIC))).toMatchObject({ rx_packets: 0n });
    expect(read(virtio_net_stats_cvq, of(4, CVQ))).toMatchObject({ command_num: 1n, ok_num: 1n });
  });

  it('count commands, those that failed too', async () => {
    const { guest, get } = await opened([]);
    await guest.command(99, 0);
    const [reply] = repliesOf(await get(entry(2, statsType.CVQ)));
    expect(read(virtio_net_stats_cvq, reply?.bytes)).toMatchObject({ command_num: 2n, ok_num: 1n });
  });

  // @holds 5.1.9.5.11.12 device: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
  it('are refused as a whole when any of it cannot be had', async () => {
    const { guest, get } = await opened(['CSUM', 'MQ']);
    const { RX_BASIC, TX_BASIC, CVQ, RX_CSUM, RX_GSO, RX_SPEED } = statsType;
    const good = entry(0, RX_BASIC);
    const bad = [
      entry(5, RX_BASIC),
      entry(0xffff, RX_BASIC),
      entry(0, 4),
      entry(0, 63),
      entry(0, TX_BASIC),
      entry(1, RX_BASIC),
      entry(4, RX_BASIC),
      entry(0, CVQ),
      entry(0, RX_CSUM),
      entry(0, RX_GSO),
      entry(0, RX_SPEED),
      [1],
      good.slice(0, 15),
      Array.from({ length: 6 }, () => entry(0)).flat(),
    ];
    for (const one of bad) {
      expect([...(await get([...good, ...one]))]).toEqual([1]);
      expect([...(await get([...one, ...good]))]).toEqual([1]);
    }
    expect([...(await get([]))]).toEqual([0]);
    expect([...(await get(entry(4, CVQ)))][0]).toBe(0);
    expect([...(await guest.command(STATS, 2, good, 64))]).toEqual([1]);
    expect([...(await guest.command(STATS, statsCommand.QUERY, [], 7))]).toEqual([1]);
  });

  it('are those of one pair, where no more were negotiated', async () => {
    const { get } = await opened([]);
    expect([...(await get(entry(2, statsType.CVQ)))][0]).toBe(0);
    expect([...(await get(entry(3, statsType.TX_BASIC)))]).toEqual([1]);
  });

  // @holds 5.1.9.5.11.12 device: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
  it('fill the room that there is with whole replies', async () => {
    const { get } = await opened([]);
    const asked = [...entry(0, statsType.RX_BASIC), ...entry(1, statsType.TX_BASIC)];
    expect(repliesOf(await get(asked, 112))).toHaveLength(2);
    expect(repliesOf(await get(asked, 111))).toHaveLength(1);
    expect(repliesOf(await get(asked, 55))).toHaveLength(0);
    expect(repliesOf(await get(asked, 5000))).toHaveLength(2);
  });
});
