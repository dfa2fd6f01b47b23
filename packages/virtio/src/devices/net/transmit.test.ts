import { describe, expect, it } from 'vitest';
import { finished, segmentation } from '../../link/offload.ts';
import { status } from '../../spec/status.ts';
import { netDevice } from './device.ts';
import { Far, frameOf, type HeaderFields, RawGuest } from './raw-guest.fixture.ts';
import type { NetFeature } from './spec.ts';
import { gsoFlag, gsoType, headerFlag, headerLength, virtio_net_hdr } from './spec-header.ts';

const { NEEDS_CSUM, DATA_VALID, RSC_INFO, UDP_TUNNEL_CSUM, SECURITY } = headerFlag;
const { UDP_TUNNEL_IPV4, UDP_TUNNEL_IPV6, ECN } = gsoFlag;

const everyOffload: readonly NetFeature[] = [
  ...(['CSUM', 'HOST_TSO4', 'HOST_TSO6', 'HOST_ECN', 'HOST_UFO', 'HOST_USO'] as const),
  ...(['HOST_UDP_TUNNEL_GSO', 'HOST_UDP_TUNNEL_GSO_CSUM'] as const),
];

const checksum: HeaderFields = { flags: NEEDS_CSUM, csum_start: 34, csum_offset: 16 };
const tcp4: HeaderFields = { ...checksum, gso_type: gsoType.TCPV4, gso_size: 1000 };
const tunnel: HeaderFields = {
  ...{ flags: NEEDS_CSUM, csum_start: 84, csum_offset: 16, gso_size: 1000 },
  ...{ gso_type: gsoType.TCPV4 | UDP_TUNNEL_IPV4, outer_th_offset: 34, inner_nh_offset: 64 },
};

/** What the other end is given of a frame of 3000 bytes behind a header; nothing when it was dropped. */
async function sent(
  features: readonly NetFeature[],
  fields: HeaderFields,
  length = 3000,
): Promise<unknown[]> {
  const device = netDevice({ mtu: 3000 });
  const far = new Far(device.endpoint);
  const guest = await RawGuest.open(device, features);
  await guest.send(frameOf(length), fields);
  expect(device.config.status).toBe(1);
  expect(await guest.transport.readStatus()).not.toBe(status.DEVICE_NEEDS_RESET);
  expect(guest.errors.length).toBe(1 - far.frames.length);
  expect(device.sent[0]).toMatchObject({ packets: far.frames.length, malformed: 1 - far.frames.length });
  return far.frames.map(({ frame, offload }) => {
    expect(frame).toEqual(frameOf(length));
    return offload;
  });
}

describe('the header of a frame', () => {
  it('is laid out as the specification has it', () => {
    const offsets = Object.values(virtio_net_hdr.field).map(({ offset }) => offset);
    expect(offsets).toEqual([0, 1, 2, 4, 6, 8, 10, 12, 16, 18, 20, 22, 24, 26, 30]);
    expect(virtio_net_hdr.size).toBe(32);
  });

  // @holds 5.1.9.3.1 driver: Device Types / Network Device / Device Operation / Setting Up Receive Buffers
  it('reaches to the last field that something was negotiated for', () => {
    const length = (...features: NetFeature[]): number =>
      headerLength((feature) => features.includes(feature));
    expect(length()).toBe(12);
    expect(length('HASH_REPORT')).toBe(20);
    expect(length('HOST_UDP_TUNNEL_GSO')).toBe(24);
    expect(length('GUEST_UDP_TUNNEL_GSO', 'HASH_REPORT')).toBe(24);
    expect(length('OUT_NET_HEADER')).toBe(32);
    expect(length('IPSEC')).toBe(32);
    expect(headerLength(() => false, true)).toBe(10);
    expect(headerLength((feature) => feature === 'MRG_RXBUF', true)).toBe(12);
  });
});

describe('what a driver sends', () => {
  const nothing: HeaderFields = {};
  const accepted: readonly [string, readonly NetFeature[], HeaderFields, object][] = [
    ['a finished frame', [], nothing, finished],
    ['flags that nobody knows', [], { flags: 0x80 | SECURITY | RSC_INFO }, finished],
    [
      'fields of a checksum that is not asked for',
      ['CSUM'],
      { csum_start: 0xffff, csum_offset: 0xffff },
      finished,
    ],
    ['a checksum', ['CSUM'], checksum, { needsChecksum: true, checksumStart: 34, checksumOffset: 16 }],
    [
      'a checksum at the very end',
      ['CSUM'],
      { flags: NEEDS_CSUM, csum_start: 2998 },
      { checksumStart: 2998 },
    ],
    ['ECN without segmentation', ['CSUM'], { gso_type: ECN }, { segmentation: 0, ecn: false }],
    ['TCP over IPv4', everyOffload, tcp4, { segmentation: segmentation.TCP4, segmentSize: 1000, ecn: false }],
    ['TCP over IPv4 with ECN', everyOffload, { ...tcp4, gso_type: 1 | ECN }, { segmentation: 1, ecn: true }],
    [
      'TCP over IPv6',
      everyOffload,
      { ...tcp4, gso_type: gsoType.TCPV6 },
      { segmentation: segmentation.TCP6 },
    ],
    [
      'fragments',
      everyOffload,
      { ...tcp4, gso_type: gsoType.UDP },
      { segmentation: segmentation.UDP_FRAGMENTS },
    ],
    ['datagrams', everyOffload, { ...tcp4, gso_type: gsoType.UDP_L4 }, { segmentation: segmentation.UDP }],
    ['a hint of the headers', everyOffload, { ...tcp4, hdr_len: 54 }, { headerLength: 0 }],
    ['exact headers', [...everyOffload, 'GUEST_HDRLEN'], { ...tcp4, hdr_len: 54 }, { headerLength: 54 }],
    [
      'headers behind the end',
      [...everyOffload, 'GUEST_HDRLEN'],
      { ...tcp4, hdr_len: 3001 },
      { headerLength: 0 },
    ],
    [
      'headers before the transport',
      [...everyOffload, 'GUEST_HDRLEN'],
      { ...tcp4, hdr_len: 41 },
      { headerLength: 0 },
    ],
    [
      'offsets of no tunnel',
      everyOffload,
      { ...tcp4, outer_th_offset: 9, inner_nh_offset: 3 },
      { tunnel: undefined },
    ],
    [
      'a tunnel',
      everyOffload,
      tunnel,
      { tunnel: { ipv6: false, outerChecksum: false, outerTransportOffset: 34, innerNetworkOffset: 64 } },
    ],
    [
      'a tunnel with its checksum',
      everyOffload,
      { ...tunnel, flags: NEEDS_CSUM | UDP_TUNNEL_CSUM, gso_type: gsoType.TCPV6 | UDP_TUNNEL_IPV6 },
      { tunnel: { ipv6: true, outerChecksum: true, outerTransportOffset: 34, innerNetworkOffset: 64 } },
    ],
  ];
  for (const [what, features, fields, offload] of accepted) {
    // @holds 5.1.9.2.2 device: Device Types / Network Device / Device Operation / Packet Transmission
    it(`is taken: ${what}`, async () => {
      expect(await sent(features, fields)).toMatchObject([offload]);
    });
  }

  const withoutTunnel = everyOffload.filter((feature) => !feature.startsWith('HOST_UDP_TUNNEL'));
  const refused: readonly [string, readonly NetFeature[], HeaderFields][] = [
    ['a checksum that was not negotiated', [], checksum],
    ['a checksum behind the end', ['CSUM'], { ...checksum, csum_start: 2990, csum_offset: 9 }],
    [
      'a checksum that begins behind the end',
      ['CSUM'],
      { ...checksum, csum_start: 0xffff, csum_offset: 0xffff },
    ],
    ['segmentation that was not negotiated', ['CSUM'], tcp4],
    ['one kind of segmentation for another', ['CSUM', 'HOST_TSO4'], { ...tcp4, gso_type: gsoType.TCPV6 }],
    ['a kind that nobody knows', everyOffload, { ...tcp4, gso_type: 2 }],
    ['another kind that nobody knows', everyOffload, { ...tcp4, gso_type: 0x11 }],
    ['ECN that was not negotiated', ['CSUM', 'HOST_TSO4'], { ...tcp4, gso_type: 1 | ECN }],
    ['segmentation without a checksum', everyOffload, { ...tcp4, flags: 0 }],
    ['segments of 0 bytes', everyOffload, { ...tcp4, gso_size: 0 }],
    ['segmentation where no network header fits', everyOffload, { ...tcp4, csum_start: 33 }],
    ['a tunnel that was not negotiated', withoutTunnel, tunnel],
    ['a tunnel of both kinds', everyOffload, { ...tunnel, gso_type: 1 | UDP_TUNNEL_IPV4 | UDP_TUNNEL_IPV6 }],
    ['a tunnel without its inner checksum', everyOffload, { ...tunnel, flags: 0 }],
    ['a tunnel that was validated', everyOffload, { ...tunnel, flags: NEEDS_CSUM | DATA_VALID }],
    ['a tunnel without segmentation', everyOffload, { ...tunnel, gso_type: UDP_TUNNEL_IPV4 }],
    ['fragments in a tunnel', everyOffload, { ...tunnel, gso_type: gsoType.UDP | UDP_TUNNEL_IPV4 }],
    ['the checksum of no tunnel', everyOffload, { ...checksum, flags: NEEDS_CSUM | UDP_TUNNEL_CSUM }],
    ['the checksum of no tunnel, cut', everyOffload, { ...tcp4, flags: NEEDS_CSUM | UDP_TUNNEL_CSUM }],
    ['a tunnel of an outer header too short', everyOffload, { ...tunnel, outer_th_offset: 33 }],
    ['a tunnel whose inner header comes first', everyOffload, { ...tunnel, inner_nh_offset: 41 }],
    ['a tunnel whose transport comes first', everyOffload, { ...tunnel, csum_start: 83 }],
    [
      'the outer checksum that was not negotiated',
      everyOffload.filter((feature) => feature !== 'HOST_UDP_TUNNEL_GSO_CSUM'),
      { ...tunnel, flags: NEEDS_CSUM | UDP_TUNNEL_CSUM },
    ],
  ];
  for (const [what, features, fields] of refused) {
    // @holds 5.1.9.2.2 device: Device Types / Network Device / Device Operation / Packet Transmission
    it(`is dropped: ${what}`, async () => {
      expect(await sent(features, fields)).toEqual([]);
    });
  }

  it('is dropped when it is no frame', async () => {
    for (const length of [0, 1, 13]) expect(await sent([], {}, length)).toEqual([]);
    expect(await sent(everyOffload, tcp4, 65_594)).toEqual([]);
  });

  // @holds 5.1.4.1 device: Device Types / Network Device / Device configuration layout
  it('is as large as the MTU, and the tag of a VLAN more', async () => {
    expect(await sent(['MTU'], {}, 3014)).toHaveLength(1);
    expect(await sent(['MTU'], {}, 3018)).toHaveLength(1);
    expect(await sent(['MTU'], {}, 3019)).toEqual([]);
    expect(await sent(['MTU', ...everyOffload], tcp4, 65_000)).toHaveLength(1);
  });

  it('is told of once for each mistake, and counted every time', async () => {
    const device = netDevice();
    new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['CSUM', 'HOST_TSO4']);
    for (let i = 0; i < 5; i++) {
      await guest.send(frameOf(100), { ...tcp4, gso_size: 0 });
      await guest.send(frameOf(100), { ...checksum, csum_start: 99 });
    }
    expect(guest.errors.map(({ message }) => message)).toEqual([
      expect.stringContaining('segments of 0 bytes'),
      expect.stringContaining('has its checksum behind its end'),
    ]);
    expect(device.sent[0]).toMatchObject({ packets: 0, drops: 10, malformed: 10 });
  });

  it('breaks its queue when it is in a buffer for the device to write', async () => {
    const device = netDevice();
    new Far(device.endpoint);
    const guest = await RawGuest.open(device, []);
    const failed = guest.opened.queue('transmitq').request(new Uint8Array(100), 1);
    await expect(failed).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(guest.errors).toMatchObject([{ code: 'BAD_REQUEST' }]);
  });

  it('is lost where there is no link', async () => {
    const device = netDevice();
    const guest = await RawGuest.open(device, []);
    await guest.send(frameOf(60));
    expect(guest.opened.config.status).toBe(0);
    const far = new Far(device.endpoint, false);
    await guest.send(frameOf(60));
    expect(device.config.status).toBe(0);
    far.up = true;
    expect(device.config.status).toBe(1);
    await guest.send(frameOf(61));
    expect(far.frames.map(({ frame }) => frame.length)).toEqual([61]);
    expect(device.sent[0]).toMatchObject({ drops: 2, malformed: 0 });
  });

  it('waits in its queue while the link has no room, where it can be suspended', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    far.patience = 1;
    const guest = await RawGuest.open(device, []);
    const [first, second] = [1, 2].map((seed) => guest.send(frameOf(60, seed)));
    await first;
    await guest.opened.suspend();
    far.makeRoom(9);
    await guest.opened.resume();
    await second;
    expect(far.frames.map(({ frame }) => frame)).toEqual([frameOf(60, 1), frameOf(60, 2)]);
  });

  it('waits in its queue until the link is cut, and is lost then', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    far.patience = 0;
    const guest = await RawGuest.open(device, ['STATUS']);
    const sent = guest.send(frameOf(60, 1));
    far.up = false;
    await sent;
    expect(device.config.status).toBe(0);
    far.up = true;
    far.makeRoom(1);
    await guest.send(frameOf(60, 2));
    expect(far.frames.map(({ frame }) => frame)).toEqual([frameOf(60, 2)]);
  });

  it('waits in its queue until that is reset, and no longer', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    far.patience = 0;
    const guest = await RawGuest.open(device, []);
    const lost = guest.send(frameOf(60, 1));
    await guest.opened.resetQueue('transmitq');
    await expect(lost).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await guest.opened.enableQueue('transmitq');
    far.makeRoom(9);
    await guest.send(frameOf(60, 2));
    expect(far.frames.map(({ frame }) => frame)).toEqual([frameOf(60, 2)]);
  });
});

describe('frames that a driver gives at once', () => {
  it('are said to follow each other, and to be all, also when the link has no room for them', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, []);
    far.mores.length = 0;
    far.patience = 2;
    const sent = Array.from({ length: 3 }, (_, i) => guest.send(frameOf(60, i)));
    await Promise.all(sent.slice(0, 2));
    expect(far.mores.every(({ follow }, i) => follow === (i % 2 === 0))).toBe(true);
    expect(far.mores.at(-1)).toEqual({ follow: false, frames: 2 });
    far.mores.length = 0;
    far.makeRoom(1);
    await sent[2];
    expect(far.mores).toEqual([
      { follow: true, frames: 2 },
      { follow: false, frames: 3 },
    ]);
  });
});
