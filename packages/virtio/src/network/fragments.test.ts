import { describe, expect, it } from 'vitest';
import { put16 } from '../link/bytes.ts';
import { connect } from '../link/index.ts';
import { userNetwork } from './network.ts';
import { Station } from './station.ts';
import { bytesOf, icmp4, icmp6, ipv4, ipv6, SimulatedClock, seenPacket, Wire } from './wire.fixture.ts';

const ping = icmp4(
  8,
  0,
  Uint8Array.from({ length: 2000 }, (_, at) => at),
);
const ping6 = icmp6(
  'fec0::15',
  'fec0::2',
  128,
  0,
  Uint8Array.from({ length: 2000 }, (_, at) => at),
);

function network() {
  const clock = new SimulatedClock();
  const net = userNetwork({ clock });
  const wire = new Wire(net);
  wire.take();
  return { clock, net, wire };
}

interface Part {
  readonly from: number;
  readonly to: number;
  readonly id?: number;
  readonly more?: boolean;
}

function four({ from, to, id = 1, more = to < ping.length }: Part): Uint8Array {
  const fragment = (from >> 3) | (more ? 0x2000 : 0);
  return ipv4('10.0.2.15', '10.0.2.2', 1, ping.subarray(from, to), { fragment, identification: id });
}

function six({ from, to, id = 1, more = to < ping6.length }: Part): Uint8Array {
  const header = bytesOf([58, 0, 0, 0, 0, 0, 0, id]);
  put16(header, 2, from | (more ? 1 : 0));
  return ipv6('fec0::15', 'fec0::2', 44, bytesOf(header, ping6.subarray(from, to)));
}

const kinds = [
  ['IPv4', four, ping.length],
  ['IPv6', six, ping6.length],
] as const;

describe.each(kinds)('fragments of %s', (_, part, end) => {
  it('are put together in any order', () => {
    const parts = [
      { from: 0, to: 800 },
      { from: 800, to: 1600 },
      { from: 1600, to: end },
    ];
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]) {
      const { wire, net } = network();
      for (const [count, at] of order.entries()) {
        expect(wire.packets().length).toBe(0);
        wire.give(part(parts[at]!));
        if (count < 2) expect(wire.packets().length).toBe(0);
      }
      expect(wire.packets().length).toBe(2);
      expect(net.statistics.allDropped).toBe(0);
    }
  });

  it('that come twice count once', () => {
    const { wire } = network();
    wire.give(part({ from: 0, to: 800 }));
    wire.give(part({ from: 0, to: 800 }));
    wire.give(part({ from: 800, to: end }));
    expect(wire.packets().length).toBe(2);
  });

  it.each([
    [
      'over the front of another',
      [
        { from: 800, to: 1600 },
        { from: 400, to: 1200 },
      ],
    ],
    [
      'over the back of another',
      [
        { from: 0, to: 800 },
        { from: 400, to: 1200 },
      ],
    ],
    [
      'within another',
      [
        { from: 0, to: 800 },
        { from: 400, to: 600 },
      ],
    ],
    [
      'around another',
      [
        { from: 400, to: 600 },
        { from: 0, to: 800 },
      ],
    ],
    [
      'behind the end',
      [
        { from: 400, to: 800, more: false },
        { from: 800, to: 1600 },
      ],
    ],
    [
      'that say that the end is before others',
      [
        { from: 800, to: 1600 },
        { from: 400, to: 800, more: false },
      ],
    ],
    [
      'with two ends',
      [
        { from: 800, to: end },
        { from: 800, to: 1200, more: false },
      ],
    ],
  ])('%s spoil their datagram for good', (_case, parts) => {
    const { wire, net } = network();
    for (const each of parts) wire.give(part(each));
    const before = net.statistics.dropped.fragment;
    expect(before).toBe(1);
    // All that it consists of, once more.
    wire.give(part({ from: 0, to: 800 }));
    wire.give(part({ from: 800, to: end }));
    expect(wire.packets().length).toBe(0);
    expect(net.statistics.dropped.fragment).toBe(before + 2);
    // Another one is none the worse.
    wire.give(part({ from: 0, to: 800, id: 2 }));
    wire.give(part({ from: 800, to: end, id: 2 }));
    expect(wire.packets().length).toBe(2);
  });

  it('are given up after a while, and their sender hears of it', () => {
    const { wire, clock } = network();
    wire.give(part({ from: 800, to: 1600, id: 1 }));
    wire.give(part({ from: 0, to: 800, id: 2 }));
    clock.advance(60_000);
    const [message, ...others] = wire.packets();
    expect(others).toEqual([]);
    const error = message?.payload;
    expect([error?.[0], error?.[1]]).toEqual(message?.version === 4 ? [11, 1] : [3, 1]);
  });

  it('of a flood fill no more than their share', () => {
    const { wire, clock, net } = network();
    for (let id = 0; id < 1500; id++) wire.give(part({ from: 8, to: 1488, id: id & 0xff }));
    for (let at = 0; at < 1500; at++) wire.give(part({ from: 8 * at, to: 8 * at + 8, id: 1, more: true }));
    expect(net.statistics.dropped.fragment).toBeGreaterThan(2500);
    clock.advance(60_000);
    expect(clock.timers).toBeLessThanOrEqual(1);
  });
});

describe('fragments', () => {
  it('of no bytes, of odd lengths and past the end of all packets are dropped', () => {
    const { wire, net } = network();
    wire.give(four({ from: 0, to: 0, more: true }));
    wire.give(four({ from: 0, to: 13 }));
    const late = ping.subarray(0, 800);
    wire.give(ipv4('10.0.2.15', '10.0.2.2', 1, late, { fragment: 0x1fff }));
    expect(net.statistics.dropped.fragment).toBe(3);
  });

  it('that are whole by themselves have nothing to do with others', () => {
    const { wire } = network();
    wire.give(six({ from: 0, to: 800 }));
    const whole = icmp6('fec0::15', 'fec0::2', 128, 0, new Uint8Array(8));
    wire.give(ipv6('fec0::15', 'fec0::2', 44, bytesOf('3a 00 0000 00000001', whole)));
    expect(wire.packets().length).toBe(1);
    wire.give(six({ from: 800, to: ping6.length }));
    expect(wire.packets().length).toBe(2);
  });

  it('of fragments are no packets', () => {
    const { wire, net } = network();
    wire.give(
      ipv6(
        'fec0::15',
        'fec0::2',
        44,
        bytesOf('2c 00 0000 00000001', '3a 00 0000 00000001', new Uint8Array(8)),
      ),
    );
    expect([wire.packets().length, net.statistics.dropped.malformed]).toEqual([0, 1]);
  });

  it('are what large packets of ours go out in, and no larger than the link takes', async () => {
    const net = userNetwork({ mtu: 1400 });
    const station = new Station({ mtu: 1300 });
    const lengths: number[] = [];
    connect(net, station, {
      watcher: {
        sent(frame, _offload, fromFirst) {
          if (fromFirst && seenPacket(frame) !== undefined) lengths.push(frame.length - 14);
        },
        refused() {},
        taken() {},
      },
    });
    for (const address of ['10.0.2.2', 'fec0::2']) {
      const sent = Uint8Array.from({ length: 60_000 }, (_, at) => at * 7);
      expect(Buffer.compare(await station.ping(address, sent), sent)).toBe(0);
    }
    expect(Math.max(...lengths)).toBeLessThanOrEqual(1400);
    expect(lengths.length).toBeGreaterThan(80);
    net.close();
    station.close();
  });
});
