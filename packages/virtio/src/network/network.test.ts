import { describe, expect, it } from 'vitest';
import { macText } from '../link/mac.ts';
import { userNetwork } from './network.ts';
import type { NetworkOptions } from './options.ts';
import {
  arp,
  bytesOf,
  dhcp,
  dhcpOptions,
  guestMac,
  hostMac,
  icmp4,
  icmp6,
  ipv4,
  ipv6,
  rightChecksum,
  SimulatedClock,
  udpFrame,
  Wire,
} from './wire.fixture.ts';

function network(options: NetworkOptions = {}) {
  const clock = new SimulatedClock();
  const net = userNetwork({ clock, ...options });
  const wire = new Wire(net);
  wire.take();
  return { clock, net, wire };
}

describe('a network in user mode', () => {
  it('answers who asks for the addresses of its own, and nobody else', () => {
    const { wire } = network();
    wire.give(arp(1, guestMac, '10.0.2.15', '10.0.2.2'));
    const [reply] = wire.take();
    expect(macText(reply!.subarray(0, 6))).toBe(macText(guestMac));
    expect(reply!.subarray(20)).toEqual(bytesOf([0, 2], hostMac, [10, 0, 2, 2], guestMac, [10, 0, 2, 15]));
    wire.give(arp(1, guestMac, '10.0.2.15', '10.0.2.99'));
    wire.give(arp(1, guestMac, '10.0.2.15', '10.0.2.15'));
    expect(wire.take()).toEqual([]);
  });

  it('answers pings of its own addresses, of both kinds', () => {
    const { wire } = network();
    const rest = bytesOf('1234 0001', new Uint8Array(56).fill(7));
    wire.give(ipv4('10.0.2.15', '10.0.2.2', 1, icmp4(8, 0, rest)));
    const [four] = wire.packets();
    expect(four).toMatchObject({ source: '10.0.2.2', destination: '10.0.2.15', protocol: 1 });
    expect(four!.payload).toEqual(icmp4(0, 0, rest));
    wire.give(ipv6('fec0::15', 'fec0::2', 58, icmp6('fec0::15', 'fec0::2', 128, 0, rest)));
    const [six] = wire.packets();
    expect(six).toMatchObject({ source: 'fec0::2', destination: 'fec0::15', protocol: 58 });
    expect(six!.payload).toEqual(icmp6('fec0::2', 'fec0::15', 129, 0, rest));
  });

  it('leases 10.0.2.15 as DHCP has it', () => {
    const { wire } = network({ dhcp: { hostname: 'guest', domain: 'example.org' } });
    const toServer = { mac: Uint8Array.of(255, 255, 255, 255, 255, 255) };
    const from = ['0.0.0.0', 68] as const;
    const to = ['255.255.255.255', 67] as const;
    wire.give(udpFrame(from, to, dhcp([[53, 1]]), toServer));
    const [offer] = wire.packets();
    expect(offer).toMatchObject({ source: '10.0.2.2', destination: '10.0.2.15', mac: macText(guestMac) });
    expect(rightChecksum(offer!)).toBe(true);
    expect(offer!.payload.subarray(24, 28)).toEqual(Uint8Array.of(10, 0, 2, 15));
    wire.give(
      udpFrame(
        from,
        to,
        dhcp([
          [53, 3],
          [50, 10, 0, 2, 15],
          [54, 10, 0, 2, 2],
        ]),
        toServer,
      ),
    );
    const [ack] = wire.packets();
    const options = dhcpOptions(ack!.payload.subarray(8));
    expect(options.get(53)).toEqual([5]);
    expect(options.get(1)).toEqual([255, 255, 255, 0]);
    expect(options.get(3)).toEqual([10, 0, 2, 2]);
    expect(options.get(6)).toEqual([10, 0, 2, 3]);
    expect(options.get(12)).toEqual(Array.from('guest', (letter) => letter.charCodeAt(0)));
  });

  it('advertises its prefix and its name server to whoever asks', () => {
    const { wire } = network();
    const message = icmp6('fe80::15', 'ff02::2', 133, 0, bytesOf('00000000 0101', guestMac));
    wire.give(ipv6('fe80::15', 'ff02::2', 58, message, { hopLimit: 255, mac: bytesOf('333300000002') }));
    const [answer] = wire.packets();
    expect(answer).toMatchObject({ source: 'fe80::2', destination: 'fe80::15', hopLimit: 255 });
    expect(rightChecksum(answer!)).toBe(true);
    expect(answer!.payload[0]).toBe(134);
  });
});
