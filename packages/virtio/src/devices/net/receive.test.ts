import { describe, expect, it } from 'vitest';
import { finished, type Offload, segmentation } from '../../link/offload.ts';
import { netDevice } from './device.ts';
import { Far, frameOf, RawGuest } from './raw-guest.fixture.ts';
import type { NetFeature } from './spec.ts';
import { gsoFlag, gsoType, headerFlag } from './spec-header.ts';

const everyOffload: readonly NetFeature[] = [
  ...([
    'GUEST_CSUM',
    'GUEST_TSO4',
    'GUEST_TSO6',
    'GUEST_ECN',
    'GUEST_UFO',
    'GUEST_USO4',
    'GUEST_USO6',
  ] as const),
  ...(['GUEST_UDP_TUNNEL_GSO', 'GUEST_UDP_TUNNEL_GSO_CSUM'] as const),
];

const cut: Offload = {
  ...finished,
  ...{ needsChecksum: true, checksumStart: 34, checksumOffset: 16 },
  ...{ segmentation: segmentation.TCP4, segmentSize: 1000 },
};

/** The header that a driver with these features has before a frame of 3000 bytes. */
async function headerOf(features: readonly NetFeature[], offload: Offload): Promise<object> {
  const device = netDevice();
  const far = new Far(device.endpoint);
  const guest = await RawGuest.open(device, features);
  const heard = guest.hear(4096);
  const frame = frameOf(3000);
  // The data offset of TCP: 32 bytes of headers.
  frame[46] = 0x80;
  expect(far.device.receive(frame, offload)).toBe(true);
  const received = await heard;
  expect(received.frame).toEqual(frame);
  expect(received.length).toBe(guest.headerLength + 3000);
  expect(guest.errors).toEqual([]);
  return received.header;
}

describe('what a driver receives', () => {
  // @holds 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets
  it('says what is left to do to it', async () => {
    expect(await headerOf([], finished)).toMatchObject({ flags: 0, gso_type: 0, num_buffers: 1 });
    expect(await headerOf(everyOffload, { ...cut, segmentation: segmentation.NONE })).toMatchObject({
      ...{ flags: headerFlag.NEEDS_CSUM, csum_start: 34, csum_offset: 16 },
      ...{ gso_type: 0, gso_size: 0, hdr_len: 0 },
    });
    expect(await headerOf(everyOffload, cut)).toMatchObject({
      ...{ flags: headerFlag.NEEDS_CSUM, csum_start: 34, csum_offset: 16 },
      ...{ gso_type: gsoType.TCPV4, gso_size: 1000, hdr_len: 34 + 32 },
    });
    expect(await headerOf(everyOffload, { ...cut, ecn: true, headerLength: 66 })).toMatchObject({
      gso_type: gsoType.TCPV4 | gsoFlag.ECN,
      hdr_len: 66,
    });
    expect(await headerOf(everyOffload, { ...cut, segmentation: segmentation.UDP })).toMatchObject({
      gso_type: gsoType.UDP_L4,
      hdr_len: 34 + 8,
    });
    const tunnel = { ipv6: true, outerChecksum: true, outerTransportOffset: 34, innerNetworkOffset: 64 };
    expect(await headerOf(everyOffload, { ...cut, checksumStart: 84, tunnel })).toMatchObject({
      flags: headerFlag.NEEDS_CSUM | headerFlag.UDP_TUNNEL_CSUM,
      gso_type: gsoType.TCPV4 | gsoFlag.UDP_TUNNEL_IPV6,
      ...{ outer_th_offset: 34, inner_nh_offset: 64 },
    });
  });

  // @holds 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets
  it('says that a checksum is right to whoever takes checksums', async () => {
    const valid = { ...finished, checksumValid: true };
    expect(await headerOf(['GUEST_CSUM'], valid)).toMatchObject({ flags: headerFlag.DATA_VALID });
    expect(await headerOf([], valid)).toMatchObject({ flags: 0 });
  });

  // @holds 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets
  it('has nothing left to do that its driver does not take', async () => {
    const takes = async (features: readonly NetFeature[]): Promise<object> => {
      const device = netDevice();
      await RawGuest.open(device, features);
      return device.endpoint.takes;
    };
    const none = { checksum: false, tcp4: false, tcp6: false, ecn: false, udpFragments: false };
    expect(await takes([])).toMatchObject({ ...none, udp4: false, udp6: false, tunnel: false });
    expect(await takes(['GUEST_CSUM', 'GUEST_TSO6'])).toMatchObject({ ...none, checksum: true, tcp6: true });
    expect(Object.values(await takes(everyOffload))).not.toContain(false);
  });

  // @holds 5.1.9.3.2 device: Device Types / Network Device / Device Operation / Setting Up Receive Buffers
  it('is in one buffer without MRG_RXBUF, or nowhere', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, []);
    const heard = [guest.hear(100), guest.hear(1000)];
    expect(far.device.receive(frameOf(89), finished)).toBe(true);
    expect(far.device.receive(frameOf(88), finished)).toBe(true);
    expect(far.device.receive(frameOf(60), finished)).toBe(true);
    expect((await Promise.all(heard)).map(({ frame }) => frame)).toEqual([frameOf(88), frameOf(60)]);
    expect(device.received[0]).toMatchObject({ packets: 2, drops: 1, overruns: 1 });
    expect(guest.errors).toMatchObject([{ code: 'BAD_REQUEST' }]);
  });

  // @holds 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets
  it('fills all buffers but the last, of whatever size they are', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MRG_RXBUF']);
    const sizes = [12, 13, 500, 40, 1000];
    const heard = sizes.map((size) => guest.opened.queue('receiveq').request(new Uint8Array(), size));
    const frame = frameOf(700);
    expect(far.device.receive(frame, finished)).toBe(true);
    const pieces = await Promise.all(heard);
    expect(pieces.map(({ length }) => length)).toEqual([12, 13, 500, 40, 712 - 565]);
    expect(guest.decode(pieces[0]!).header.num_buffers).toBe(5);
    const bytes = pieces.flatMap((piece, i) => [...piece.subarray(i === 0 ? 12 : 0)]);
    expect(Uint8Array.from(bytes)).toEqual(frame);
  });

  it('comes to nothing when all buffers together are too small', async () => {
    const device = netDevice({ queueSize: 4 });
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MRG_RXBUF']);
    const heard = Array.from({ length: 4 }, () => guest.hear(100));
    expect(far.device.receive(frameOf(389), finished)).toBe(true);
    expect(far.device.receive(frameOf(388), finished)).toBe(true);
    expect((await heard[0]!).header.num_buffers).toBe(4);
    expect(device.received[0]).toMatchObject({ packets: 1, overruns: 1 });
  });

  it('breaks its queue when a buffer is too small for a header, or in the wrong direction', async () => {
    for (const [readable, writable] of [
      [new Uint8Array(), 11],
      [new Uint8Array(1), 100],
    ] as const) {
      const device = netDevice();
      const far = new Far(device.endpoint);
      const guest = await RawGuest.open(device, ['MRG_RXBUF']);
      const failed = guest.opened.queue('receiveq').request(readable, writable);
      failed.catch(() => {});
      expect(far.device.receive(frameOf(60), finished)).toBe(true);
      await expect(failed).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
      expect(guest.errors).toMatchObject([{ code: 'BAD_REQUEST' }]);
      // Until the reset frames wait, and then they are lost.
      expect(far.device.receive(frameOf(60), finished)).toBe(false);
      await guest.transport.writeStatus(0);
      expect(far.rooms).toBe(1);
      expect(far.device.receive(frameOf(60), finished)).toBe(true);
    }
  });

  // @holds 5.1.4.1 device: Device Types / Network Device / Device configuration layout
  it('is no larger than the MTU, and the tag of a VLAN more', async () => {
    const device = netDevice({ mtu: 1280 });
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MTU', ...everyOffload]);
    const tagged = frameOf(1298);
    tagged.set([0x81, 0], 12);
    const larger = frameOf(1299);
    larger.set([0x81, 0], 12);
    const heard = [1, 2, 3].map(() => guest.hear(4096));
    for (const frame of [frameOf(1294), frameOf(1295), tagged, larger]) {
      expect(far.device.receive(frame, finished)).toBe(true);
    }
    expect(far.device.receive(frameOf(3000), cut)).toBe(true);
    expect((await Promise.all(heard)).map(({ frame }) => frame.length)).toEqual([1294, 1298, 3000]);
  });

  it('is lost while there is no driver, and when it is no frame', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    expect(far.device.receive(frameOf(60), finished)).toBe(true);
    const guest = await RawGuest.open(device, []);
    const heard = guest.hear();
    expect(far.device.receive(frameOf(14).subarray(0, 13), finished)).toBe(true);
    expect(far.device.receive(frameOf(61), finished)).toBe(true);
    expect((await heard).frame.length).toBe(61);
    await guest.opened.close();
    expect(far.device.receive(frameOf(60), finished)).toBe(true);
  });

  it('waits for buffers in a device that can be suspended meanwhile', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MRG_RXBUF']);
    const heard = [guest.hear(100)];
    expect(far.device.receive(frameOf(1000), finished)).toBe(false);
    await guest.opened.suspend();
    heard.push(guest.hear(1000));
    far.onRoom = () => void far.device.receive(frameOf(1000), finished);
    await guest.opened.resume();
    expect((await heard[0]!).header.num_buffers).toBe(2);
  });

  it('comes on a queue that is there', async () => {
    const device = netDevice({ queuePairs: 2 });
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MQ', 'CTRL_VQ'], {
      queues: () => [{ name: 'controlq' }, { name: 'transmitq' }, { name: 'receiveq' }],
    });
    expect(await guest.command(4, 0, [2, 0])).toEqual(Uint8Array.of(0));
    for (let port = 0; port < 8; port++) {
      const heard = guest.hear();
      expect(far.device.receive(udp(port), finished)).toBe(true);
      await heard;
    }
    expect(device.received.map(({ packets }) => packets)).toEqual([8, 0]);
  });

  // @holds 5.1.9.5.6.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode
  it('comes on the queue on which its flow is sent', async () => {
    const pairs = 4;
    const device = netDevice({ queuePairs: pairs });
    const far = new Far(device.endpoint);
    const numbers = [0, 1, 2, 3];
    const guest = await RawGuest.open(device, ['MQ', 'CTRL_VQ'], {
      queues: () => [
        { name: 'controlq' },
        ...numbers.flatMap((number) => [
          { name: 'transmitq' as const, number },
          { name: 'receiveq' as const, number },
        ]),
      ],
    });
    for (const number of numbers) guest.give(40, number);
    const where = (frame: Uint8Array): number => {
      const before = device.received.map(({ packets }) => packets);
      expect(far.device.receive(frame, finished)).toBe(true);
      return device.received.findIndex(({ packets }, i) => packets !== before[i]);
    };
    await guest.send(udp(1), {}, 3);
    expect(where(back(udp(1)))).toBe(0);
    expect(await guest.command(4, 0, [4, 0])).toEqual(Uint8Array.of(0));
    for (const number of numbers) {
      await guest.send(udp(10 + number), {}, number);
      expect(where(back(udp(10 + number)))).toBe(number);
    }
    await guest.send(udp(10), {}, 3);
    expect(where(back(udp(10)))).toBe(3);
    const spread = new Set(Array.from({ length: 30 }, (_, port) => where(back(udp(1000 + port)))));
    expect(spread.size).toBeGreaterThan(1);
    for (const [pairs, ack] of [
      [0, 1],
      [5, 1],
      [1, 0],
    ] as const) {
      expect(await guest.command(4, 0, [pairs, 0])).toEqual(Uint8Array.of(ack));
    }
    expect(where(back(udp(13)))).toBe(0);
    await guest.opened.close();
  });
});

/** A datagram over IPv4 from a port of one host to one of another. */
function udp(port: number): Uint8Array<ArrayBuffer> {
  const frame = frameOf(60);
  frame.set([8, 0, 0x45, 0], 12);
  frame.set([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 18);
  new DataView(frame.buffer).setUint16(34, port);
  new DataView(frame.buffer).setUint16(36, 53);
  return frame;
}

/** The answer to it. */
function back(frame: Uint8Array): Uint8Array {
  const answer = frame.slice();
  answer.set(frame.subarray(26, 30), 30);
  answer.set(frame.subarray(30, 34), 26);
  answer.set(frame.subarray(34, 36), 36);
  answer.set(frame.subarray(36, 38), 34);
  return answer;
}
