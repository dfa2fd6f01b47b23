import { describe, expect, it } from 'vitest';
import { put16 } from '../../link/bytes.ts';
import { inTunnel, type Packet, packet } from '../../link/packets.fixture.ts';
import { randomNumbers } from '../../link/random.fixture.ts';
import { PacketHash } from './packet-hash.ts';
import { hashReport, hashTunnelType, hashType } from './spec-hash.ts';
import { Toeplitz } from './toeplitz.ts';

const toeplitz = new Toeplitz(Uint8Array.from({ length: 40 }, (_, i) => 17 * i + 3));
const all = 0x1ff;
const payload = new Uint8Array(64).fill(9);

function hashOf(frame: Uint8Array, types = all, tunnels = 0): { value: number; report: number } {
  const hash = new PacketHash();
  const done = hash.calculate(frame, types, toeplitz, tunnels);
  expect(done).toBe(hash.report !== hashReport.NONE);
  return { value: hash.value, report: hash.report };
}

/** Of some bytes of a frame, one behind the other. */
function toeplitzOf(frame: Uint8Array, ...parts: readonly [from: number, length: number][]): number {
  const bytes = parts.flatMap(([from, length]) => [...frame.subarray(from, from + length)]);
  return toeplitz.hash(Uint8Array.from(bytes), bytes.length);
}

describe('the hash of a packet', () => {
  const names = ['IPv4', 'TCPv4', 'UDPv4', 'IPv6', 'TCPv6', 'UDPv6', 'IP_EX', 'TCP_EX', 'UDP_EX'] as const;

  // As the tables of 5.1.9.4.3 have it: the first type that is enabled and fits.
  const cases = [
    { version: 4, protocol: 'tcp', ipOptions: 0, order: ['TCPv4', 'IPv4'] },
    { version: 4, protocol: 'udp', ipOptions: 2, order: ['UDPv4', 'IPv4'] },
    { version: 6, protocol: 'tcp', ipOptions: 0, order: ['TCPv6', 'IPv6'] },
    { version: 6, protocol: 'udp', ipOptions: 0, order: ['UDPv6', 'IPv6'] },
    { version: 6, protocol: 'tcp', ipOptions: 2, order: ['TCP_EX', 'IP_EX', 'TCPv6', 'IPv6'] },
    { version: 6, protocol: 'udp', ipOptions: 1, order: ['UDP_EX', 'IP_EX', 'UDPv6', 'IPv6'] },
  ] as const;

  it.each(cases)('is over what is enabled: IPv$version $protocol with $ipOptions options', (each) => {
    const made = packet({ ...each, payload, tags: 1 });
    const { frame, networkAt, transportAt } = made;
    const addresses: [number, number] = each.version === 4 ? [networkAt + 12, 8] : [networkAt + 8, 32];
    for (let types = 0; types <= all; types++) {
      const first = each.order.find((name) => (types & hashType[name]) !== 0);
      const { value, report } = hashOf(frame, types);
      if (first === undefined) {
        expect({ value, report }).toEqual({ value: 0, report: hashReport.NONE });
        continue;
      }
      expect(report).toBe(names.indexOf(first) + 1);
      expect(1 << (report - 1)).toBe(hashType[first]);
      const withPorts = !first.startsWith('IP');
      const expected = withPorts
        ? toeplitzOf(frame, addresses, [transportAt, 4])
        : toeplitzOf(frame, addresses);
      expect(value).toBe(expected);
    }
  });

  it('is over addresses alone for fragments, so that all of a datagram are alike', () => {
    const v4 = packet({ version: 4, protocol: 'udp', payload });
    put16(v4.frame, v4.networkAt + 6, 0x2000);
    const first = hashOf(v4.frame);
    put16(v4.frame, v4.networkAt + 6, 5);
    expect(hashOf(v4.frame)).toEqual(first);
    expect(first.report).toBe(hashReport.IPv4);
    const v6 = packet({ version: 6, protocol: 'udp', payload, ipOptions: 1 });
    v6.frame[v6.networkAt + 6] = 44;
    v6.frame[v6.networkAt + 40 + 3] = 1;
    const start = hashOf(v6.frame);
    expect(start.report).toBe(hashReport.IPv6_EX);
    v6.frame[v6.networkAt + 40 + 3] = 9;
    expect(hashOf(v6.frame)).toEqual(start);
  });

  it('is over the home address and the address of a type 2 routing header', () => {
    const made = packet({ version: 6, protocol: 'tcp', payload, ipOptions: 6 });
    const { frame, networkAt, transportAt } = made;
    const options = networkAt + 40;
    // Options for the destination of 24 bytes, then a routing header of 24.
    frame.fill(0, options, transportAt);
    frame[networkAt + 6] = 60;
    frame.set([43, 2, 0, 1, 0, 0xc9, 16], options);
    for (let i = 0; i < 16; i++) frame[options + 7 + i] = 0xa0 + i;
    const routing = options + 24;
    frame.set([6, 2, 2, 1], routing);
    for (let i = 0; i < 16; i++) frame[routing + 8 + i] = 0xb0 + i;
    const { report, value } = hashOf(frame);
    expect(report).toBe(hashReport.TCPv6_EX);
    expect(value).toBe(toeplitzOf(frame, [options + 7, 16], [routing + 8, 16], [transportAt, 4]));
    expect(hashOf(frame, hashType.IP_EX).value).toBe(toeplitzOf(frame, [options + 7, 16], [routing + 8, 16]));
    // One that does not ask for them is over the addresses of the header.
    expect(hashOf(frame, hashType.IPv6).value).toBe(toeplitzOf(frame, [networkAt + 8, 32]));
    // Other routing headers, and options that are cut short, hold no address.
    frame[routing + 2] = 0;
    frame[options + 6] = 17;
    expect(hashOf(frame, hashType.IP_EX).value).toBe(toeplitzOf(frame, [networkAt + 8, 32]));
  });

  it('is none for what is not of IP, or cut short', () => {
    const { frame } = packet({ version: 4, protocol: 'tcp', payload });
    expect(hashOf(frame.subarray(0, 30)).report).toBe(hashReport.NONE);
    expect(hashOf(frame.subarray(0, 35), all).report).toBe(hashReport.IPv4);
    put16(frame, 12, 0x0806);
    expect(hashOf(frame).report).toBe(hashReport.NONE);
    expect(hashOf(new Uint8Array(3)).report).toBe(hashReport.NONE);
  });
});

describe('the hash of an encapsulated packet', () => {
  const inner = packet({ version: 6, protocol: 'udp', payload });
  const own = hashOf(inner.frame);

  /** A packet of a protocol, with bytes behind its IP header. */
  function around(version: 4 | 6, number: number, ...parts: readonly (Uint8Array | number[])[]): Uint8Array {
    const carried = Uint8Array.from(parts.flatMap((part) => [...part]));
    // Behind the eight bytes that were UDP's header, which go.
    const made = packet({ version, protocol: 'udp', payload: carried });
    const frame = Uint8Array.from([
      ...made.frame.subarray(0, made.transportAt),
      ...made.frame.subarray(made.payloadAt),
    ]);
    frame[made.networkAt + (version === 4 ? 9 : 6)] = number;
    return frame;
  }

  function inUdp(port: number, ...parts: readonly (Uint8Array | number[])[]): Uint8Array {
    const made: Packet = packet({
      version: 4,
      protocol: 'udp',
      payload: Uint8Array.from(parts.flatMap((part) => [...part])),
    });
    put16(made.frame, made.transportAt + 2, port);
    return made.frame;
  }

  const ip = inner.frame.subarray(14);
  const { GRE_2784, GRE_2890, GRE_7676, GRE_UDP, VXLAN, VXLAN_GPE, GENEVE, IPIP, NVGRE } = hashTunnelType;
  const inner4 = packet({ version: 4, protocol: 'tcp', payload });

  // @holds 5.1.9.4.4.4 device: Device Types / Network Device / Device Operation / Control Virtqueue / Inner Header Hash
  it.each([
    ['GRE', GRE_2784, around(4, 47, [0, 0, 0x86, 0xdd], ip)],
    ['GRE with a checksum', GRE_2784, around(4, 47, [0x80, 0, 0x86, 0xdd, 0, 0, 0, 0], ip)],
    [
      'GRE with a key and a number',
      GRE_2890,
      around(4, 47, [0x30, 0, 0x86, 0xdd, 0, 0, 0, 0, 0, 0, 0, 0], ip),
    ],
    ['GRE over IPv6', GRE_7676, around(6, 47, [0, 0, 0x86, 0xdd], ip)],
    ['GRE of Ethernet', GRE_2784, around(4, 47, [0, 0, 0x65, 0x58], inner.frame)],
    ['GRE in UDP', GRE_UDP, inUdp(4754, [0, 0, 0x86, 0xdd], ip)],
    ['NVGRE', NVGRE, around(4, 47, [0x20, 0, 0x65, 0x58, 0, 0, 1, 0], inner.frame)],
    ['NVGRE as GRE with a key', GRE_2890, around(4, 47, [0x20, 0, 0x65, 0x58, 0, 0, 1, 0], inner.frame)],
    ['VXLAN', VXLAN, inTunnel(4, inner).frame],
    ['VXLAN over IPv6', VXLAN, inTunnel(6, inner).frame],
    ['VXLAN-GPE of IPv6', VXLAN_GPE, inUdp(4790, [0x0c, 0, 0, 2, 0, 0, 1, 0], ip)],
    ['VXLAN-GPE of Ethernet', VXLAN_GPE, inUdp(4790, [0x0c, 0, 0, 3, 0, 0, 1, 0], inner.frame)],
    ['GENEVE with options', GENEVE, inUdp(6081, [1, 0, 0x65, 0x58, 0, 0, 1, 0, 1, 2, 3, 4], inner.frame)],
    ['GENEVE of IPv6', GENEVE, inUdp(6081, [0, 0, 0x86, 0xdd, 0, 0, 1, 0], ip)],
  ])('is over its inner header when it is enabled, else over the outer one: %s', (_, type, frame) => {
    expect(hashOf(frame, all, type)).toEqual(own);
    expect(hashOf(frame, all, 0x1ff)).toEqual(own);
    const outer = hashOf(frame);
    expect(outer).not.toEqual(own);
    expect(outer.report).not.toBe(hashReport.NONE);
    const others = 0x1ff & ~type & ~(type === NVGRE || type === GRE_2890 ? NVGRE | GRE_2890 : 0);
    expect(hashOf(frame, all, others)).toEqual(outer);
  });

  it('is over the inner one of IPv4 in IPv4', () => {
    const frame = around(4, 4, inner4.frame.subarray(14));
    expect(hashOf(frame, all, IPIP)).toEqual(hashOf(inner4.frame));
    expect(hashOf(frame).report).toBe(hashReport.IPv4);
    expect(hashOf(around(6, 4, inner4.frame.subarray(14)), all, IPIP).report).toBe(hashReport.IPv6);
  });

  it('is none when what is inside is not of IP', () => {
    const arp = new Uint8Array(60);
    put16(arp, 12, 0x0806);
    const hash = new PacketHash();
    const frame = inUdp(4789, [8, 0, 0, 0, 0, 0, 1, 0], arp);
    expect(hash.calculate(frame, all, toeplitz, VXLAN)).toBe(false);
  });

  it('is over the outer header when the tunnel has none, or one that is cut short', () => {
    const broken = [
      inUdp(4789, [0, 0, 0, 0, 0, 0, 1, 0], inner.frame),
      inUdp(4789, [8, 0, 0]),
      inUdp(6081, [0x40, 0, 0x65, 0x58, 0, 0, 1, 0], inner.frame),
      around(4, 47, [0, 1, 0x86, 0xdd], ip),
      around(4, 47, [0, 0]),
      inUdp(53, ip),
    ];
    for (const frame of broken) expect(hashOf(frame, all, 0x1ff)).toEqual(hashOf(frame));
  });

  it('reads nothing outside the frame, whatever is in it', () => {
    const random = randomNumbers(5);
    const seeds = [
      inTunnel(4, inner).frame,
      inUdp(6081, [1, 0, 0x65, 0x58, 0, 0, 1, 0, 1, 2, 3, 4], inner.frame),
    ];
    for (let round = 0; round < 3000; round++) {
      const frame = seeds[random(2)]!.slice(0, 20 + random(140));
      for (let i = random(4); i > 0; i--) frame[random(frame.length)] = random(256);
      hashOf(frame, all, 0x1ff);
    }
  });
});
