import { describe, expect, it } from 'vitest';
import { get16, put16, put32 } from '../link/bytes.ts';
import { finished, noOffloads, segmentation } from '../link/index.ts';
import { userNetwork } from './network.ts';
import type { FlowRequest, NetworkOptions } from './options.ts';
import { HandUplink, settled } from './uplink.fixture.ts';
import type { FailureReason } from './uplink.ts';
import {
  arp,
  bytesOf,
  guestMac,
  icmp4,
  ipv4,
  ipv6,
  rightChecksum,
  type SeenPacket,
  SimulatedClock,
  udp,
  udpFrame,
  Wire,
} from './wire.fixture.ts';

const guest = ['10.0.2.15', 1000] as const;
const hello = bytesOf([104, 101, 108, 108, 111]);

function network(options: NetworkOptions = {}) {
  const clock = new SimulatedClock();
  const uplink = new HandUplink();
  const net = userNetwork({ clock, uplink, ...options });
  const wire = new Wire(net);
  wire.give(arp(1, guestMac, '10.0.2.15', '10.0.2.2'));
  wire.take();
  return { clock, net, uplink, wire };
}

/** A segment of TCP that asks for a connection, from port 1000. */
function syn(port: number, number = 7): Uint8Array {
  const bytes = new Uint8Array(20);
  put16(bytes, 0, 1000);
  put16(bytes, 2, port);
  put32(bytes, 4, number);
  bytes.set([0x50, 0x02, 0xff, 0xff], 12);
  return bytes;
}

const unchecked = { ...finished, checksumValid: true };

function typeOf(packet: SeenPacket | undefined): readonly (number | undefined)[] {
  return [packet?.payload[0], packet?.payload[1]];
}

describe('datagrams', () => {
  it('go out by a socket for each port of a guest, and come back to it from where they are', () => {
    const { uplink, wire } = network();
    wire.give(udpFrame(guest, ['192.0.2.1', 53], hello));
    wire.give(udpFrame(guest, ['192.0.2.2', 54], hello));
    wire.give(udpFrame(['10.0.2.15', 1001], ['192.0.2.1', 53], hello));
    expect(
      uplink.sockets.map(({ family, sent }) => [family, sent.map(({ address, port }) => [address, port])]),
    ).toEqual([
      [
        4,
        [
          ['192.0.2.1', 53],
          ['192.0.2.2', 54],
        ],
      ],
      [4, [['192.0.2.1', 53]]],
    ]);
    uplink.sockets[0]!.user.received(hello, '192.0.2.2', 54);
    const [answer] = wire.packets();
    expect(answer).toMatchObject({ source: '192.0.2.2', destination: '10.0.2.15', protocol: 17 });
    expect([get16(answer!.payload, 0), get16(answer!.payload, 2)]).toEqual([54, 1000]);
    expect(answer!.payload.subarray(8)).toEqual(hello);
    expect(rightChecksum(answer!)).toBe(true);
  });

  it('reach the host by its address in the network, and come back from that', () => {
    const { uplink, wire } = network();
    wire.give(udpFrame(guest, ['10.0.2.2', 53], hello));
    wire.give(udpFrame(['fec0::15', 1000], ['fec0::2', 53], hello));
    expect(uplink.sockets.map(({ sent }) => sent[0]?.address)).toEqual(['127.0.0.1', '::1']);
    uplink.sockets[0]!.user.received(hello, '127.0.0.1', 53);
    expect(wire.packets()[0]?.source).toBe('10.0.2.2');
    uplink.sockets[1]!.user.received(hello, '::1', 53);
    expect(wire.packets()[0]?.source).toBe('fec0::2');
  });

  it('from addresses that guests have are nobody’s outside', () => {
    const { net, uplink, wire } = network();
    wire.give(udpFrame(guest, ['192.0.2.1', 53], hello));
    for (const address of ['10.0.2.2', '10.0.2.77', '224.0.0.1', 'nonsense', '::1']) {
      uplink.sockets[0]!.user.received(hello, address, 53);
    }
    expect([wire.packets().length, net.statistics.dropped.prohibited]).toEqual([0, 5]);
  });

  it('that are still to be cut are cut', () => {
    const { uplink, wire } = network();
    const frame = udpFrame(guest, ['192.0.2.1', 53], new Uint8Array(2500));
    wire.give(frame, { ...finished, segmentation: segmentation.UDP, segmentSize: 1000, needsChecksum: true });
    expect(uplink.sockets[0]?.sent.map(({ bytes }) => bytes.length)).toEqual([1000, 1000, 500]);
  });

  it('with a wrong checksum go nowhere, and those without one do', () => {
    const { net, uplink, wire } = network();
    const without = udp('10.0.2.15', '192.0.2.1', 1000, 53, hello);
    put16(without, 6, 0);
    wire.give(ipv4('10.0.2.15', '192.0.2.1', 17, without));
    expect(uplink.sockets[0]?.sent).toHaveLength(1);
    put16(without, 6, 12_345);
    wire.give(ipv4('10.0.2.15', '192.0.2.1', 17, without));
    const six = udp('fec0::15', '2001:db8::1', 1000, 53, hello);
    put16(six, 6, 0);
    wire.give(ipv6('fec0::15', '2001:db8::1', 17, six));
    expect(net.statistics.dropped['bad-checksum']).toBe(2);
    expect(uplink.sockets).toHaveLength(1);
  });

  it('have a socket until nobody used it for a while', () => {
    const { clock, net, uplink, wire } = network();
    wire.give(udpFrame(guest, ['192.0.2.1', 53], hello));
    clock.advance(60_000);
    wire.give(udpFrame(['10.0.2.15', 1001], ['192.0.2.1', 53], hello));
    clock.advance(50_000);
    uplink.sockets[0]!.user.received(hello, '192.0.2.1', 53);
    clock.advance(100_000);
    expect(uplink.sockets.map(({ closed }) => closed)).toEqual([false, true]);
    clock.advance(20_000);
    expect([net.udpFlows, uplink.sockets[0]?.closed]).toEqual([0, true]);
    // What comes late is nobody's.
    wire.take();
    uplink.sockets[0]!.user.received(hello, '192.0.2.1', 53);
    expect(wire.packets()).toEqual([]);
  });

  it('that cannot arrive are spoken of by ICMP', () => {
    const { uplink, wire } = network();
    wire.give(udpFrame(guest, ['192.0.2.1', 53], hello));
    uplink.sockets[0]!.user.failed('refused', '192.0.2.1', 53);
    const [error] = wire.packets();
    expect([error?.source, ...typeOf(error)]).toEqual(['10.0.2.2', 3, 3]);
    const quoted = error!.payload.subarray(8);
    expect([quoted.subarray(12, 20), get16(quoted, 20), get16(quoted, 22)]).toEqual([
      bytesOf([10, 0, 2, 15, 192, 0, 2, 1]),
      1000,
      53,
    ]);
  });
});

describe('what may not go out', () => {
  const cases: readonly (readonly [string, NetworkOptions, string, readonly (number | undefined)[]])[] = [
    ['of a network that is kept in', { restrict: true }, '192.0.2.1', [3, 13]],
    ['that a rule is against', { permit: () => false }, '192.0.2.1', [3, 13]],
    ['without an uplink', { uplink: undefined }, '192.0.2.1', [3, 0]],
    ['to the host, which is not to be reached', { hostLoopback: false }, '10.0.2.2', [3, 3]],
    ['to a guest that is not there', {}, '10.0.2.77', [3, 1]],
    ['to the network’s name server at another port', {}, '10.0.2.3', [3, 3]],
  ];
  it.each(cases)('%s is spoken of by ICMP', (_, options, address, said) => {
    const { uplink, wire } = network(options);
    wire.give(udpFrame(guest, [address, 9], hello));
    expect(typeOf(wire.packets()[0])).toEqual(said);
    expect(uplink.sockets).toHaveLength(0);
  });

  it.each([
    '127.0.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '10.0.2.255',
    '::1',
    '::ffff:127.0.0.1',
  ])('to %s is not even spoken of', (address) => {
    const { uplink, wire } = network();
    const from = address.includes(':') ? 'fec0::15' : '10.0.2.15';
    wire.give(udpFrame([from, 1], [address, 9], hello));
    const make = address.includes(':') ? ipv6 : ipv4;
    wire.give(make(from, address, 6, syn(80)), unchecked);
    expect([wire.packets().length, uplink.sockets.length, uplink.streams.length]).toEqual([0, 0, 0]);
  });

  it('is asked for with all that is known of it', () => {
    const asked: FlowRequest[] = [];
    const { wire } = network({ permit: (flow) => asked.push(flow) > 0 });
    wire.give(udpFrame(guest, ['192.0.2.1', 53], hello));
    wire.give(udpFrame(guest, ['192.0.2.1', 53], hello));
    wire.give(ipv4('10.0.2.15', '10.0.2.2', 6, syn(80)), unchecked);
    expect(asked).toEqual([
      { protocol: 'udp', address: '192.0.2.1', port: 53, guest: '10.0.2.15' },
      { protocol: 'tcp', address: '10.0.2.2', port: 80, guest: '10.0.2.15' },
    ]);
  });

  it('has no hops left: the router says that it is there', () => {
    const { uplink, wire } = network();
    wire.give(udpFrame(guest, ['192.0.2.1', 33_434], hello, { hopLimit: 1 }));
    const [answer] = wire.packets();
    expect([answer?.source, ...typeOf(answer)]).toEqual(['10.0.2.2', 11, 0]);
    wire.give(udpFrame(guest, ['10.0.2.2', 33_434], hello, { hopLimit: 1 }));
    expect(uplink.sockets).toHaveLength(1);
  });

  it.each([
    ['another guest’s address', '10.0.2.2'],
    ['an address of elsewhere', '192.168.0.1'],
    ['everybody’s', '10.0.2.255'],
    ['nobody’s', '0.0.0.0'],
  ])('comes from %s', (_, source) => {
    const { net, uplink, wire } = network();
    wire.give(udpFrame([source, 1], ['192.0.2.1', 9], hello));
    wire.give(ipv4(source, '192.0.2.1', 6, syn(80)), unchecked);
    wire.give(ipv4(source, '10.0.2.2', 1, icmp4(8, 0, new Uint8Array(8))));
    expect([wire.packets().length, uplink.sockets.length, uplink.streams.length]).toEqual([0, 0, 0]);
    expect(net.statistics.allDropped).toBe(3);
  });

  it('is of a protocol that nobody speaks', () => {
    const { wire } = network();
    wire.give(ipv4('10.0.2.15', '10.0.2.2', 47, hello));
    expect(typeOf(wire.packets()[0])).toEqual([3, 2]);
    wire.give(ipv6('fec0::15', 'fec0::2', 47, hello));
    const [error] = wire.packets().filter(({ protocol }) => protocol === 58);
    expect(typeOf(error)).toEqual([4, 1]);
  });
});

describe('connections', () => {
  it('open when the other side is there', async () => {
    const { uplink, wire } = network();
    uplink.outcome = 'wait';
    wire.give(ipv4('10.0.2.15', '10.0.2.2', 6, syn(80)), unchecked);
    expect(uplink.streams[0]?.target).toEqual({ address: '127.0.0.1', port: 80, name: undefined });
    await settled();
    expect(wire.packets()).toEqual([]);
    uplink.streams[0]!.user.opened();
    const [answer] = wire.packets();
    // SYN and ACK, of what was asked.
    expect([answer!.payload[13], answer!.payload.subarray(8, 12)]).toEqual([0x12, bytesOf([0, 0, 0, 8])]);
  });

  const failures: readonly (readonly [FailureReason, readonly (number | undefined)[]])[] = [
    ['host-unreachable', [3, 1]],
    ['network-unreachable', [3, 0]],
    ['prohibited', [3, 13]],
  ];
  it.each(failures)('that fail as %s are spoken of by ICMP', async (outcome, said) => {
    const { net, uplink, wire } = network();
    uplink.outcome = outcome;
    wire.give(ipv4('10.0.2.15', '192.0.2.1', 6, syn(80, 1234)), unchecked);
    await settled();
    const [error] = wire.packets();
    expect(typeOf(error)).toEqual(said);
    // Who asked knows its own segment by the number in it.
    expect(error!.payload.subarray(28 + 4, 28 + 8)).toEqual(bytesOf([0, 0, 4, 210]));
    expect(net.connections).toBe(0);
  });

  it('that are refused are reset, and those that nobody answers are asked for again', async () => {
    const { uplink, wire } = network();
    uplink.outcome = 'refused';
    wire.give(ipv4('10.0.2.15', '192.0.2.1', 6, syn(80)), unchecked);
    await settled();
    expect(wire.packets()[0]?.payload[13]).toBe(0x14);
    uplink.outcome = 'timed-out';
    wire.give(ipv4('10.0.2.15', '192.0.2.1', 6, syn(81)), unchecked);
    await settled();
    expect(wire.packets()).toEqual([]);
    wire.give(ipv4('10.0.2.15', '192.0.2.1', 6, syn(81)), unchecked);
    expect(uplink.streams).toHaveLength(3);
  });
});

describe('a guest with no room', () => {
  it('is sent what waits when it has some, and loses what is too much', () => {
    const { net, wire } = network();
    wire.space = 0;
    const ping = ipv4('10.0.2.15', '10.0.2.2', 1, icmp4(8, 0, new Uint8Array(1400)));
    for (let count = 0; count < 1000; count++) expect(wire.give(ping)).toBe(true);
    expect([wire.packets().length, net.statistics.dropped['no-room']]).toEqual([0, 488]);
    wire.space = 100;
    net.room();
    expect(wire.packets()).toHaveLength(100);
    wire.space = Number.POSITIVE_INFINITY;
    net.room();
    expect(wire.packets()).toHaveLength(412);
    expect(wire.takes).toBe(noOffloads);
  });

  it('that answers from within is heard afterwards', async () => {
    const { net, wire } = network();
    const ping = ipv4('10.0.2.15', '10.0.2.2', 1, icmp4(8, 0, new Uint8Array(8)));
    let left = 3;
    wire.onFrame = () => {
      if (left-- > 0) expect(wire.give(ping)).toBe(true);
    };
    wire.give(ping);
    expect(wire.sent).toHaveLength(1);
    await settled();
    expect(wire.packets()).toHaveLength(4);
    // More than is held at a time waits at its sender.
    let refused = 0;
    wire.onFrame = () => {
      wire.onFrame = undefined;
      for (let count = 0; count < 300; count++) refused += wire.give(ping) ? 0 : 1;
    };
    wire.give(ping);
    expect(refused).toBe(44);
    await settled();
    expect([wire.packets().length, wire.roomCalls, net.statistics.allDropped]).toEqual([257, 1, 0]);
  });
});
