import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { put16 } from '../link/bytes.ts';
import { finished, type Offload } from '../link/index.ts';
import { userNetwork } from './network.ts';
import { HandUplink } from './uplink.fixture.ts';
import {
  arp,
  broadcastMac,
  bytesOf,
  dhcp,
  ethernet,
  guestMac,
  icmp4,
  icmp6,
  ipv4,
  ipv6,
  SimulatedClock,
  udpFrame,
  Wire,
} from './wire.fixture.ts';

const limits = { connections: 8, udpFlows: 8, queries: 4 };
const payload = Uint8Array.from({ length: 64 }, (_, at) => at);

/** A segment of TCP; its checksum is of no interest to who is told that it need not be looked at. */
function syn(port: number): Uint8Array {
  const bytes = new Uint8Array(20);
  put16(bytes, 0, port);
  put16(bytes, 2, 80);
  bytes.set([0x50, 0x02, 0xff, 0xff], 12);
  return bytes;
}

const query = bytesOf('0007 0100 0001 0000 0000 0000 07', code('example'), '03', code('org'), '00 0001 0001');

function code(text: string): number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}

/** Whatever a guest says that is right, so that little has to be changed for it to be nearly right. */
const right: readonly Uint8Array[] = [
  arp(1, guestMac, '10.0.2.15', '10.0.2.2'),
  ipv4('10.0.2.15', '10.0.2.2', 1, icmp4(8, 0, payload)),
  ipv4(
    '10.0.2.15',
    '10.0.2.2',
    1,
    icmp4(3, 4, bytesOf([0, 0, 2, 0], ipv4('10.0.2.2', '10.0.2.15', 6, payload).subarray(14))),
  ),
  ipv4('10.0.2.15', '192.0.2.1', 6, syn(1)),
  ipv4('10.0.2.15', '10.0.2.2', 6, syn(2)),
  ipv4('10.0.2.15', '10.0.2.2', 17, payload, { fragment: 0x2000 }),
  ipv4('10.0.2.15', '10.0.2.2', 17, payload, { fragment: 8 }),
  ipv4('10.0.2.15', '10.0.2.2', 47, payload, { options: bytesOf('44080500 00000000') }),
  udpFrame(['10.0.2.15', 1000], ['192.0.2.1', 53], payload),
  udpFrame(['10.0.2.15', 1001], ['10.0.2.3', 53], query),
  udpFrame(['0.0.0.0', 68], ['255.255.255.255', 67], dhcp([[53, 1]]), { mac: broadcastMac }),
  udpFrame(['fe80::15', 546], ['ff02::1:2', 547], bytesOf('0b 010203 0001 0004 00000001'), {
    mac: bytesOf('333300010002'),
  }),
  ipv6('fec0::15', 'fec0::2', 58, icmp6('fec0::15', 'fec0::2', 128, 0, payload)),
  ipv6(
    '::',
    'ff02::1:ff00:2',
    58,
    icmp6('::', 'ff02::1:ff00:2', 135, 0, bytesOf(new Uint8Array(4), 'fec0000000000000 0000000000000002')),
    { hopLimit: 255, mac: bytesOf('3333ff000002') },
  ),
  ipv6('fe80::15', 'ff02::2', 58, icmp6('fe80::15', 'ff02::2', 133, 0, bytesOf('00000000 0101', guestMac)), {
    hopLimit: 255,
    mac: bytesOf('333300000002'),
  }),
  ipv6('fec0::15', 'fec0::2', 0, bytesOf('3a00 05020000 0100', payload)),
  ipv6('fec0::15', '2001:db8::1', 44, bytesOf('1100 0001 00000001', payload)),
  ipv6('fec0::15', '2001:db8::1', 44, bytesOf('1100 0048 00000001', payload)),
  ipv6('fec0::15', '2001:db8::1', 43, bytesOf('1102 0001 00000000', new Uint8Array(16), payload)),
  ethernet(broadcastMac, 0x8100, payload),
];

const edits = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 });
const nearlyRight = fc
  .tuple(fc.constantFrom(...right), edits, fc.option(fc.nat(120)))
  .map(([frame, changes, cut]) => {
    const changed = frame.slice(0, cut ?? frame.length);
    for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
    return changed;
  });
const anything = fc.uint8Array({ maxLength: 200 });
/** Behind the headers that let it in, anything. */
const admitted = fc
  .tuple(fc.constantFrom(...right), fc.uint8Array({ maxLength: 100 }), fc.nat(80))
  .map(([frame, rest, at]) => bytesOf(frame.subarray(0, Math.min(frame.length, at)), rest));

const offloads: fc.Arbitrary<Offload> = fc.oneof(
  fc.constant(finished),
  fc.record({
    needsChecksum: fc.boolean(),
    checksumStart: fc.nat(70_000),
    checksumOffset: fc.nat(70_000),
    checksumValid: fc.boolean(),
    segmentation: fc.constantFrom(0, 1, 3, 4, 5),
    segmentSize: fc.nat(65_535),
    headerLength: fc.nat(65_535),
    ecn: fc.boolean(),
    tunnel: fc.constant(undefined),
  }),
);

describe('a hostile guest', () => {
  it('makes nothing throw and nothing grow, whatever it sends', () => {
    const frames = fc.array(fc.tuple(fc.oneof(nearlyRight, admitted, anything), offloads, fc.nat(2000)), {
      maxLength: 40,
    });
    const property = fc.property(frames, (all) => {
      const clock = new SimulatedClock();
      const uplink = new HandUplink();
      const network = userNetwork({ clock, uplink, limits });
      const wire = new Wire(network);
      for (const [frame, offload, time] of all) {
        expect(wire.give(frame, offload)).toBe(true);
        clock.advance(time);
      }
      expect(network.connections).toBeLessThanOrEqual(limits.connections);
      expect(network.udpFlows).toBeLessThanOrEqual(limits.udpFlows);
      expect(network.statistics.receivedFrames).toBe(all.length);
      // Whatever was said, who behaves is served.
      wire.take();
      wire.give(arp(1, guestMac, '10.0.2.15', '10.0.2.3'));
      expect(wire.take()).toHaveLength(1);
      network.close();
      wire.take();
      clock.advance(1_000_000);
      expect(wire.take()).toEqual([]);
    });
    fc.assert(property, { numRuns: 150 });
  });

  it('holds no more sockets, connections and leases than there may be', async () => {
    const clock = new SimulatedClock();
    const uplink = new HandUplink();
    uplink.outcome = 'wait';
    const network = userNetwork({ clock, uplink, limits });
    const wire = new Wire(network);
    for (let port = 1; port < 400; port++) {
      wire.give(ipv4('10.0.2.15', '192.0.2.1', 6, syn(port)), { ...finished, checksumValid: true });
      wire.give(udpFrame(['10.0.2.15', port], ['192.0.2.1', 53], payload));
      const mac = bytesOf([2, 0, 0, 0, port >> 8, port & 255]);
      wire.give(
        udpFrame(['0.0.0.0', 68], ['255.255.255.255', 67], dhcp([[53, 1]], { mac }), {
          mac: broadcastMac,
          from: mac,
        }),
      );
      wire.give(udpFrame(['10.0.2.15', port], ['10.0.2.3', 53], query));
    }
    expect(network.connections).toBeLessThanOrEqual(limits.connections);
    expect(uplink.streams.filter(({ events }) => events.length === 0).length).toBeLessThanOrEqual(
      limits.connections,
    );
    expect(network.udpFlows).toBe(limits.udpFlows);
    expect(uplink.sockets.filter(({ closed }) => !closed)).toHaveLength(limits.udpFlows);
    expect(uplink.queries.length).toBeLessThanOrEqual(limits.queries);
    // The rest of the network's addresses were offered to somebody.
    expect(network.statistics.dropped.limit).toBeGreaterThan(150);
    network.close();
    expect(uplink.sockets.every(({ closed }) => closed)).toBe(true);
    expect(uplink.streams.every(({ events }) => events.length === 1)).toBe(true);
    clock.advance(1_000_000);
    expect(clock.timers).toBe(0);
  });

  it('hears of what is wrong no more often than is good', () => {
    const clock = new SimulatedClock();
    const wire = new Wire(userNetwork({ clock, uplink: new HandUplink(), ipv6: false }));
    const refused = udpFrame(['10.0.2.15', 1], ['10.0.2.77', 1], payload);
    for (let count = 0; count < 1000; count++) wire.give(refused);
    expect(wire.packets()).toHaveLength(200);
    clock.advance(500);
    for (let count = 0; count < 1000; count++) wire.give(refused);
    expect(wire.packets()).toHaveLength(100);
  });
});
