import { describe, expect, it } from 'vitest';
import { idle } from '../../device/idle.fixture.ts';
import { connect } from '../../link/cable.ts';
import { finished, type Offload, segmentation } from '../../link/offload.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { netDevice } from './device.ts';
import { openNet } from './driver.ts';
import { RawCard } from './raw-card.fixture.ts';
import { broadcast, Far, frameOf } from './raw-guest.fixture.ts';
import { type NetFeature, netStatus } from './spec.ts';
import { controlClass, macCommand, rxCommand, vlanCommand } from './spec-control.ts';
import { gsoFlag, gsoType, headerFlag } from './spec-header.ts';

const { NEEDS_CSUM, DATA_VALID, RSC_INFO, UDP_TUNNEL_CSUM } = headerFlag;
const { UDP_TUNNEL_IPV4, UDP_TUNNEL_IPV6, ECN } = gsoFlag;

const hostOffloads: readonly NetFeature[] = [
  ...(['CSUM', 'HOST_TSO4', 'HOST_TSO6', 'HOST_ECN', 'HOST_UFO', 'HOST_USO', 'GUEST_HDRLEN'] as const),
  ...(['HOST_UDP_TUNNEL_GSO', 'HOST_UDP_TUNNEL_GSO_CSUM'] as const),
];
const guestOffloads: readonly NetFeature[] = [
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
const control: readonly NetFeature[] = [
  ...(['MAC', 'STATUS', 'CTRL_VQ', 'CTRL_RX', 'CTRL_RX_EXTRA', 'CTRL_MAC_ADDR', 'CTRL_VLAN'] as const),
  ...(['GUEST_ANNOUNCE', 'CTRL_GUEST_OFFLOADS', 'GUEST_CSUM', 'GUEST_TSO4'] as const),
];

const cut: Offload = {
  ...finished,
  ...{ needsChecksum: true, checksumStart: 34, checksumOffset: 16 },
  ...{ segmentation: segmentation.TCP4, segmentSize: 1000 },
};

describe('what a driver sends', () => {
  // @holds 5.1.9.2.1 driver: Device Types / Network Device / Device Operation / Packet Transmission
  it('stands behind a header that says what is left to do', async () => {
    const card = new RawCard(hostOffloads);
    const opened = await card.open();
    const frame = frameOf(3000);
    frame[46] = 0x80;
    const tunnel = { ipv6: false, outerChecksum: true, outerTransportOffset: 34, innerNetworkOffset: 64 };
    await opened.send(frameOf(60));
    await opened.send(frame, cut);
    await opened.send(frame, { ...cut, segmentation: segmentation.UDP, ecn: false });
    await opened.send(frame, { ...cut, ecn: true, headerLength: 54 });
    await opened.send(frame, { ...cut, checksumStart: 84, tunnel });
    expect(card.sent.map(({ header }) => header)).toMatchObject([
      { flags: 0, gso_type: 0, num_buffers: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 },
      {
        flags: NEEDS_CSUM,
        gso_type: gsoType.TCPV4,
        gso_size: 1000,
        csum_start: 34,
        csum_offset: 16,
        hdr_len: 66,
      },
      { flags: NEEDS_CSUM, gso_type: gsoType.UDP_L4, hdr_len: 42, num_buffers: 0 },
      { gso_type: gsoType.TCPV4 | ECN, hdr_len: 54, outer_th_offset: 0, inner_nh_offset: 0 },
      {
        flags: NEEDS_CSUM | UDP_TUNNEL_CSUM,
        gso_type: gsoType.TCPV4 | UDP_TUNNEL_IPV4,
        ...{ outer_th_offset: 34, inner_nh_offset: 64 },
      },
    ]);
    expect(card.sent.map((one) => one.frame)).toEqual([frameOf(60), frame, frame, frame, frame]);
  });

  // @holds 5.1.9.2.1 driver: Device Types / Network Device / Device Operation / Packet Transmission
  it('asks for nothing that was not negotiated', async () => {
    const card = new RawCard(['CSUM', 'HOST_TSO6']);
    const opened = await card.open();
    const bad = { code: 'BAD_ARGUMENT' };
    const frame = frameOf(3000);
    const none = await new RawCard([]).open();
    await expect(none.send(frame, { ...cut, segmentation: segmentation.NONE })).rejects.toMatchObject(bad);
    await expect(opened.send(frame, cut)).rejects.toMatchObject(bad);
    for (const offload of [
      { segmentation: segmentation.UDP },
      { segmentation: segmentation.UDP_FRAGMENTS },
      { segmentation: segmentation.TCP6, ecn: true },
      { segmentation: segmentation.TCP6, needsChecksum: false },
      { segmentation: segmentation.TCP6, segmentSize: 0 },
      {
        segmentation: segmentation.TCP6,
        tunnel: { ipv6: false, outerChecksum: false, outerTransportOffset: 34, innerNetworkOffset: 64 },
      },
    ]) {
      await expect(opened.send(frame, { ...cut, ...offload })).rejects.toMatchObject(bad);
    }
    await opened.send(frame, { ...cut, segmentation: segmentation.TCP6 });
    expect(card.sent.map(({ header }) => header.gso_type)).toEqual([gsoType.TCPV6]);
  });

  // @holds 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
  it('is no larger than the MTU', async () => {
    const tagged = frameOf(1298);
    tagged.set([0x81, 0], 12);
    const larger = frameOf(1299);
    larger.set([0x81, 0], 12);
    const card = new RawCard(['MTU'], { mtu: 1280 });
    const opened = await card.open();
    expect(opened.mtu).toBe(1280);
    await opened.send(frameOf(1294));
    await opened.send(tagged);
    for (const frame of [frameOf(1295), larger, frameOf(13)]) {
      await expect(opened.send(frame)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    expect(card.sent.map(({ frame }) => frame.length)).toEqual([1294, 1298]);
    const plain = await new RawCard([]).open();
    expect(plain.mtu).toBe(1500);
    await expect(plain.send(frameOf(1515))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const jumbo = new RawCard(['MTU'], { mtu: 65_535 });
    await (await jumbo.open()).send(frameOf(65_549));
    expect(jumbo.sent[0]?.frame.length).toBe(65_549);
  });

  it('waits for room, and is not forgotten', async () => {
    const card = new RawCard([]);
    card.patience = 0;
    const opened = await card.open();
    const sent = Array.from({ length: 300 }, (_, i) => opened.send(frameOf(60, i)));
    await idle();
    expect(card.sent).toEqual([]);
    card.makeRoom(Number.POSITIVE_INFINITY);
    await Promise.all(sent);
    await idle();
    expect(card.sent.length).toBe(300);
    expect(card.sent.slice(0, 64).map(({ frame }) => frame)).toEqual(
      Array.from({ length: 64 }, (_, i) => frameOf(60, i)),
    );
    card.patience = 0;
    const lost = Array.from({ length: 70 }, () => opened.send(frameOf(60)));
    for (const one of lost) one.catch(() => {});
    await idle();
    await opened.close();
    await expect(lost.at(-1)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await expect(opened.send(frameOf(60))).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  });
});

describe('what a driver receives', () => {
  // @holds 5.1.9.3.1 driver: Device Types / Network Device / Device Operation / Setting Up Receive Buffers
  // @holds 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
  it('has buffers that are large enough', async () => {
    const buffers = async (offers: readonly NetFeature[], mtu = 0): Promise<number[]> => {
      const card = new RawCard(offers, { mtu });
      await card.open();
      return card.buffers();
    };
    expect(Math.min(...(await buffers([])))).toBeGreaterThanOrEqual(1526);
    expect(Math.min(...(await buffers(['GUEST_CSUM', 'GUEST_TSO4'])))).toBeGreaterThanOrEqual(65_601);
    expect(Math.min(...(await buffers(['MTU'], 9000)))).toBeGreaterThanOrEqual(12 + 9018);
    const mergeable = await buffers(['MRG_RXBUF', ...guestOffloads]);
    expect(Math.min(...mergeable)).toBeGreaterThanOrEqual(24);
    expect(mergeable.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(65_601);
  });

  // @holds 5.1.9.4.2 driver: Device Types / Network Device / Device Operation / Processing of Incoming Packets
  it('is what its header says', async () => {
    const card = new RawCard(guestOffloads);
    const opened = await card.open();
    const tunnel = { outer_th_offset: 34, inner_nh_offset: 64 };
    for (const [fields, offload] of [
      [{}, finished],
      [{ flags: 0x80 | 0x30 }, finished],
      [{ csum_start: 0xffff, csum_offset: 0xffff, outer_th_offset: 9 }, finished],
      [{ flags: DATA_VALID }, { ...finished, checksumValid: true }],
      [{ flags: DATA_VALID | UDP_TUNNEL_CSUM }, { ...finished, checksumValid: true }],
      [
        { flags: NEEDS_CSUM, csum_start: 34, csum_offset: 16 },
        { ...cut, segmentation: 0, segmentSize: 0 },
      ],
      [
        { flags: NEEDS_CSUM, csum_start: 34, csum_offset: 16, gso_type: 1, gso_size: 1000, hdr_len: 9999 },
        cut,
      ],
      [
        {
          flags: 1,
          csum_start: 84,
          csum_offset: 16,
          gso_type: 1 | UDP_TUNNEL_IPV6,
          gso_size: 1000,
          ...tunnel,
        },
        {
          ...{ ...cut, checksumStart: 84 },
          tunnel: { ipv6: true, outerChecksum: false, outerTransportOffset: 34, innerNetworkOffset: 64 },
        },
      ],
    ] as const) {
      const read = opened.receive();
      card.receive(frameOf(3000), fields);
      expect(await read).toEqual({ frame: frameOf(3000), offload });
    }
  });

  const lies: readonly [string, readonly NetFeature[], object][] = [
    ['a checksum that was not negotiated', [], { flags: NEEDS_CSUM, csum_start: 34 }],
    ['a checksum behind the end', guestOffloads, { flags: NEEDS_CSUM, csum_start: 2999 }],
    ['segments of 0 bytes', guestOffloads, { flags: NEEDS_CSUM, csum_start: 34, gso_type: 1 }],
    [
      'segmentation that was not negotiated',
      ['GUEST_CSUM'],
      { flags: 1, csum_start: 34, gso_type: 1, gso_size: 9 },
    ],
    ['segmentation without a checksum', guestOffloads, { gso_type: 1, gso_size: 1000 }],
    ['a tunnel of both kinds', guestOffloads, { flags: 1, csum_start: 84, gso_type: 0x61, gso_size: 9 }],
    ['a tunnel that was validated', guestOffloads, { flags: 3, csum_start: 84, gso_type: 0x21, gso_size: 9 }],
    ['a tunnel without its inner checksum', guestOffloads, { gso_type: 0x21, gso_size: 9 }],
    ['a tunnel without segmentation', guestOffloads, { flags: 1, csum_start: 84, gso_type: 0x20 }],
    ['the checksum of no tunnel', guestOffloads, { flags: NEEDS_CSUM | UDP_TUNNEL_CSUM, csum_start: 34 }],
  ];
  for (const [what, offers, fields] of lies) {
    // @holds 5.1.9.4.2 driver: Device Types / Network Device / Device Operation / Processing of Incoming Packets
    it(`is dropped when its header lies: ${what}`, async () => {
      const dropped: string[] = [];
      const card = new RawCard(offers);
      const opened = await card.open({ onDropped: (mistake) => void dropped.push(mistake) });
      const read = opened.receive();
      card.receive(frameOf(1400), fields);
      card.receive(frameOf(60), {});
      expect((await read)?.frame).toEqual(frameOf(60));
      expect(dropped.length).toBe(1);
    });
  }

  it('may have been coalesced, but for drivers that never asked for that', async () => {
    const card = new RawCard(guestOffloads);
    const opened = await card.open();
    const read = opened.receive();
    card.receive(frameOf(3000), { flags: NEEDS_CSUM | RSC_INFO, csum_start: 34, csum_offset: 16 });
    expect((await read)?.offload.checksumStart).toBe(34);
  });

  it('is put together from the buffers that it is spread over', async () => {
    const card = new RawCard(['MRG_RXBUF']);
    const opened = await card.open();
    const read = opened.receive();
    const frame = frameOf(1000);
    card.receive(frame.subarray(0, 100), { num_buffers: 3 });
    card.put(frame.subarray(100, 900));
    await idle();
    card.put(frame.subarray(900));
    expect((await read)?.frame).toEqual(frame);
    const next = opened.receive();
    card.receive(frameOf(60), { num_buffers: 1 });
    expect((await next)?.frame).toEqual(frameOf(60));
  });

  for (const [what, buffers, spoil] of [
    ['no header', 'MRG_RXBUF', (card: RawCard) => card.put(new Uint8Array(11))],
    ['no buffers', 'MRG_RXBUF', (card: RawCard) => card.receive(frameOf(60), { num_buffers: 0 })],
    [
      'more buffers than there are',
      'MRG_RXBUF',
      (card: RawCard) => card.receive(frameOf(60), { num_buffers: 65 }),
    ],
    ['no header in one buffer', 'MAC', (card: RawCard) => card.put(new Uint8Array(1))],
  ] as const) {
    it(`is the device's failure with ${what}`, async () => {
      const card = new RawCard([buffers]);
      const failures: Error[] = [];
      const opened = await card.open({ onFailure: (error) => void failures.push(error) });
      const read = opened.receive();
      spoil(card);
      await expect(read).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
      await expect(opened.send(frameOf(60))).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
      expect(failures).toHaveLength(1);
    });
  }

  it('is one frame, whatever number of buffers is told of, where none can be spread', async () => {
    const card = new RawCard([]);
    const opened = await card.open();
    const read = opened.receive();
    card.receive(frameOf(60), { num_buffers: 7 });
    expect((await read)?.frame).toEqual(frameOf(60));
  });

  it('is dropped when it is no frame', async () => {
    const dropped: string[] = [];
    const card = new RawCard(['MRG_RXBUF', ...guestOffloads]);
    const opened = await card.open({ onDropped: (mistake) => void dropped.push(mistake) });
    const read = opened.receive();
    card.receive(frameOf(13));
    card.receive(frameOf(2000), { num_buffers: 34 });
    for (let i = 1; i < 34; i++) card.put(new Uint8Array(2000));
    card.receive(frameOf(60));
    expect((await read)?.frame).toEqual(frameOf(60));
    expect(dropped).toEqual(['is shorter than its Ethernet header', 'is larger than any can be']);
  });

  it('waits in its buffers for whoever reads it', async () => {
    const card = new RawCard([]);
    const opened = await card.open();
    for (const seed of [1, 2, 3]) card.receive(frameOf(60, seed));
    await idle();
    for (const seed of [1, 2, 3]) expect((await opened.receive())?.frame).toEqual(frameOf(60, seed));
    const read = opened.receive();
    await opened.close();
    expect(await read).toBeUndefined();
    expect(await opened.receive()).toBeUndefined();
  });
});

describe('the configuration', () => {
  // @holds 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
  it('gives the address, or else the driver takes one of nobody', async () => {
    expect([...(await new RawCard(['MAC']).open({ mac: '52:54:00:00:00:09' })).mac]).toEqual([
      0x52, 0x54, 0, 0, 0, 1,
    ]);
    const own = (await new RawCard([]).open()).mac;
    expect(own[0]! & 3).toBe(2);
    expect([...(await new RawCard([]).open({ mac: '52:54:00:00:00:09' })).mac]).toEqual([
      0x52, 0x54, 0, 0, 0, 9,
    ]);
    const multicast = await new RawCard(['MAC'], { mac: Uint8Array.of(1, 0, 0, 0, 0, 0) }).open();
    expect(multicast.mac[0]! & 1).toBe(0);
  });

  // @holds 5.1.9.5.2.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
  it('hears of an address that it did not give', async () => {
    const card = new RawCard(['CTRL_VQ', 'CTRL_RX', 'CTRL_MAC_ADDR']);
    await card.open({ mac: '52:54:00:00:00:09' });
    expect(card.commands).toEqual([
      { number: controlClass.MAC, command: macCommand.ADDR_SET, data: [0x52, 0x54, 0, 0, 0, 9] },
    ]);
  });

  // @holds 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
  it('tells of the link, the speed and the duplex mode, and of each change', async () => {
    const changes: boolean[] = [];
    const card = new RawCard(['STATUS', 'SPEED_DUPLEX'], { speed: 1000, duplex: 1, status: 0 });
    const opened = await card.open({ onLinkChange: (up) => void changes.push(up) });
    expect([opened.linkUp, opened.speed, opened.duplex]).toEqual([false, 1000, 'full']);
    const change = async (values: Parameters<typeof card.device.updateConfig>[0]): Promise<unknown[]> => {
      card.device.updateConfig(values);
      await idle();
      return [opened.linkUp, opened.speed, opened.duplex];
    };
    expect(await change({ status: netStatus.LINK_UP, duplex: 0 })).toEqual([true, 1000, 'half']);
    expect(await change({ speed: 0x8000_0000, duplex: 2 })).toEqual([true, undefined, undefined]);
    expect(await change({ speed: 0x7fff_ffff, duplex: 0xff })).toEqual([true, 0x7fff_ffff, undefined]);
    expect(await change({ status: 0 })).toEqual([false, 0x7fff_ffff, undefined]);
    expect(changes).toEqual([true, false]);
    const silent = await new RawCard([], { status: 0, speed: 10, duplex: 1 }).open();
    expect([silent.linkUp, silent.speed, silent.duplex]).toEqual([true, undefined, undefined]);
  });

  it('is refused when it cannot be', async () => {
    for (const [offers, config] of [
      [['MTU'], { mtu: 67 }],
      [['MQ', 'CTRL_VQ'], { max_virtqueue_pairs: 0x8001 }],
    ] as const) {
      await expect(new RawCard(offers, config).open()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    }
  });
});

describe('commands', () => {
  // @holds 5.1.9.5.1.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering
  // @holds 5.1.9.5.2.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
  it('are what the specification says', async () => {
    const card = new RawCard(control);
    const opened = await card.open();
    await opened.setMode('promiscuous', true);
    await opened.setMode('noBroadcast', false);
    await opened.setAddresses(['01:00:5e:00:00:01', '52:54:00:00:00:02', '33:33:00:00:00:01']);
    await opened.setMac('52:54:00:00:00:03');
    await opened.addVlan(0x123);
    await opened.removeVlan(1);
    await opened.setOffloads(['GUEST_CSUM', 'GUEST_TSO4']);
    const { RX, MAC, VLAN, GUEST_OFFLOADS } = controlClass;
    expect(card.commands).toEqual([
      { number: RX, command: rxCommand.PROMISC, data: [1] },
      { number: RX, command: rxCommand.NOBCAST, data: [0] },
      {
        ...{ number: MAC, command: macCommand.TABLE_SET },
        data: [
          ...[1, 0, 0, 0, 0x52, 0x54, 0, 0, 0, 2],
          ...[2, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1, 0x33, 0x33, 0, 0, 0, 1],
        ],
      },
      { number: MAC, command: macCommand.ADDR_SET, data: [0x52, 0x54, 0, 0, 0, 3] },
      { number: VLAN, command: vlanCommand.ADD, data: [0x23, 1] },
      { number: VLAN, command: vlanCommand.DEL, data: [1, 0] },
      { number: GUEST_OFFLOADS, command: 0, data: [0x82, 0, 0, 0, 0, 0, 0, 0] },
    ]);
  });

  // @holds 5.1.9.5.1.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering
  // @holds 5.1.9.5.2.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
  // @holds 5.1.9.5.9.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Offloads State Configuration / Setting Offloads State
  it('are given to no device without what they need', async () => {
    const card = new RawCard(['CTRL_VQ', 'CTRL_GUEST_OFFLOADS', 'GUEST_CSUM']);
    const opened = await card.open({ features: ['CTRL_VQ', 'CTRL_GUEST_OFFLOADS', 'GUEST_CSUM'] });
    const not = { code: 'NOT_NEGOTIATED' };
    for (const mode of [
      'promiscuous',
      'allMulticast',
      'allUnicast',
      'noMulticast',
      'noUnicast',
      'noBroadcast',
    ] as const) {
      await expect(opened.setMode(mode, true)).rejects.toMatchObject(not);
    }
    await expect(opened.setAddresses([])).rejects.toMatchObject(not);
    await expect(opened.setMac('52:54:00:00:00:03')).rejects.toMatchObject(not);
    await expect(opened.addVlan(1)).rejects.toMatchObject(not);
    await expect(opened.setOffloads(['GUEST_CSUM', 'GUEST_TSO4'])).rejects.toMatchObject(not);
    expect(card.commands).toEqual([]);
    const none = await new RawCard([]).open();
    await expect(none.setMode('promiscuous', true)).rejects.toMatchObject(not);
  });

  it('say what cannot be', async () => {
    const opened = await new RawCard(control).open();
    const bad = { code: 'BAD_ARGUMENT' };
    await expect(opened.setMac('01:00:00:00:00:00')).rejects.toMatchObject(bad);
    await expect(opened.setMac('52:54:00')).rejects.toMatchObject(bad);
    await expect(opened.setMac(new Uint8Array(5))).rejects.toMatchObject(bad);
    await expect(opened.addVlan(4096)).rejects.toMatchObject(bad);
    await expect(opened.setQueuePairs(2)).rejects.toMatchObject(bad);
  });

  it('may be refused, and a device that answers nothing has failed', async () => {
    const card = new RawCard(control);
    const opened = await card.open();
    card.answer = Uint8Array.of(1);
    await expect(opened.setMode('promiscuous', true)).rejects.toMatchObject({ code: 'IO_ERROR' });
    card.answer = Uint8Array.of(0);
    await opened.setMode('promiscuous', true);
    card.answer = new Uint8Array();
    await expect(opened.setMode('promiscuous', true)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    await expect(opened.setMode('promiscuous', true)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
  });

  // @holds 5.1.9.5.4.1 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Gratuitous Packet Sending
  it('tell that an announcement was heard of, behind the announcement', async () => {
    const card = new RawCard(control);
    const opened = await card.open();
    card.device.updateConfig({ status: netStatus.LINK_UP | netStatus.ANNOUNCE });
    await idle();
    expect(card.commands).toContainEqual({ number: controlClass.ANNOUNCE, command: 0, data: [] });
    const rarp = card.sent[0]!.frame;
    expect([...rarp.subarray(0, 14)]).toEqual([...broadcast, ...opened.mac, 0x80, 0x35]);
    let announced = 0;
    const other = new RawCard(control, { status: netStatus.LINK_UP | netStatus.ANNOUNCE });
    await other.open({
      onAnnounce: () => {
        announced++;
      },
    });
    await idle();
    expect([announced, other.sent.length, other.commands.length]).toEqual([1, 0, 1]);
  });

  // @holds 5.1.9.5.6.1 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode
  it('have as many pairs used as are set up, and frames sent on those alone', async () => {
    const card = new RawCard(['CTRL_VQ', 'MQ'], { max_virtqueue_pairs: 4 }, 4);
    const opened = await card.open({ queuePairs: 9 });
    expect(opened.queuePairs).toBe(4);
    expect(card.commands).toEqual([{ number: controlClass.MQ, command: 0, data: [4, 0] }]);
    for (const number of [0, 1, 2, 3]) expect(card.buffers(number).length).toBeGreaterThan(8);
    const queues = async (): Promise<Set<number>> => {
      card.sent.length = 0;
      for (let port = 0; port < 40; port++) await opened.send(udp(port));
      return new Set(card.sent.map(({ queue }) => queue));
    };
    expect(await queues()).toEqual(new Set([0, 1, 2, 3]));
    await opened.setQueuePairs(2);
    expect(await queues()).toEqual(new Set([0, 1]));
    for (const pairs of [0, 5, 1.5]) {
      await expect(opened.setQueuePairs(pairs)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    expect(card.commands.length).toBe(2);
    const one = new RawCard(['CTRL_VQ', 'MQ'], { max_virtqueue_pairs: 4 }, 4);
    expect((await one.open()).queuePairs).toBe(1);
    expect(one.commands).toEqual([]);
  });
});

describe('a driver at an end of a link', () => {
  it('carries frames from one device to another', async () => {
    const [left, right] = [netDevice(), netDevice()];
    const [farLeft, farRight] = [new Far(left.endpoint), new Far(right.endpoint)];
    const cards = [await openNet(new Loopback(left)), await openNet(new Loopback(right))] as const;
    connect(cards[0].endpoint, cards[1].endpoint);
    await idle();
    for (let i = 0; i < 5; i++) expect(farLeft.device.receive(frameOf(500, i), finished)).toBe(true);
    expect(farRight.device.receive(frameOf(700, 9), finished)).toBe(true);
    await idle();
    expect(farRight.frames.map(({ frame }) => frame)).toEqual([0, 1, 2, 3, 4].map((i) => frameOf(500, i)));
    expect(farLeft.frames.map(({ frame }) => frame)).toEqual([frameOf(700, 9)]);
  });

  it('lets both ends wait for each other, and loses nothing', async () => {
    const [left, right] = [netDevice(), netDevice()];
    const [farLeft, farRight] = [new Far(left.endpoint), new Far(right.endpoint)];
    farRight.patience = 0;
    const cards = [await openNet(new Loopback(left)), await openNet(new Loopback(right))] as const;
    connect(cards[0].endpoint, cards[1].endpoint);
    await idle();
    const count = 400;
    let given = 0;
    const give = (): void => {
      while (given < count && farLeft.device.receive(frameOf(100, given), finished)) given++;
    };
    farLeft.onRoom = give;
    give();
    await idle();
    expect(given).toBeLessThan(count);
    farRight.makeRoom(Number.POSITIVE_INFINITY);
    for (let i = 0; i < 50 && farRight.frames.length < count; i++) await idle();
    expect(farRight.frames.map(({ frame }) => frame)).toEqual(
      Array.from({ length: count }, (_, i) => frameOf(100, i)),
    );
  });

  it('loses what comes when its device is gone, and keeps nobody waiting', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    far.patience = 0;
    const card = await openNet(new Loopback(device));
    const other = new Far(card.endpoint);
    while (other.device.receive(frameOf(60), finished));
    await card.close();
    expect(other.rooms).toBeGreaterThan(0);
    expect(other.device.receive(frameOf(60), finished)).toBe(true);
    expect(card.endpoint.takes.checksum).toBe(false);
  });
});

/** A datagram over IPv4 from a port of one host to one of another. */
function udp(port: number): Uint8Array<ArrayBuffer> {
  const frame = frameOf(60);
  frame.set([8, 0, 0x45, 0], 12);
  frame.set([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 18);
  new DataView(frame.buffer).setUint16(34, port);
  return frame;
}
