import { describe, expect, it } from 'vitest';
import { get16, get32 } from '../link/bytes.ts';
import { macText } from '../link/mac.ts';
import { formatAddress } from './address.ts';
import { userNetwork } from './network.ts';
import type { NetworkOptions } from './options.ts';
import {
  bytesOf,
  guestMac,
  hostMac,
  icmp6,
  ip,
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
  return { clock, net, wire };
}

function solicit(source: string, target: string, options: Uint8Array = new Uint8Array()): Uint8Array {
  const group = bytesOf('ff02000000000000 00000001ff', ip(target).subarray(13));
  const message = icmp6(
    source,
    formatAddress(group),
    135,
    0,
    bytesOf(new Uint8Array(4), ip(target), options),
  );
  return ipv6(source, formatAddress(group), 58, message, {
    hopLimit: 255,
    mac: bytesOf('3333', group.subarray(12)),
  });
}

const ours = bytesOf([1, 1], guestMac);

describe('neighbours of IPv6', () => {
  it.each(['fec0::2', 'fec0::3', 'fe80::2'])('find %s', (target) => {
    const { wire } = network();
    wire.take();
    wire.give(solicit('fec0::15', target, ours));
    const [answer] = wire.packets();
    expect(answer).toMatchObject({
      source: target,
      destination: 'fec0::15',
      hopLimit: 255,
      mac: macText(guestMac),
    });
    expect(rightChecksum(answer!)).toBe(true);
    expect(answer!.payload.subarray(4)).toEqual(bytesOf([0xe0, 0, 0, 0], ip(target), [2, 1], hostMac));
  });

  it('are told that an address of ours is not free', () => {
    const { wire } = network();
    wire.take();
    wire.give(solicit('::', 'fec0::2'));
    const [answer] = wire.packets();
    expect(answer).toMatchObject({ destination: 'ff02::1', mac: '33:33:00:00:00:01' });
    expect(answer!.payload[4]).toBe(0xa0);
    wire.give(solicit('::', 'fec0::15'));
    expect(wire.packets()).toEqual([]);
  });

  it.each([
    [
      'from behind a router',
      (frame: Uint8Array) => Uint8Array.from(frame, (byte, at) => (at === 21 ? 64 : byte)),
    ],
    [
      'with a wrong checksum',
      (frame: Uint8Array) => Uint8Array.from(frame, (byte, at) => (at === 56 ? byte ^ 1 : byte)),
    ],
    [
      'with an option of no length',
      (frame: Uint8Array) => Uint8Array.from(frame, (byte, at) => (at === 79 ? 0 : byte)),
    ],
  ])('%s are not listened to', (_, spoil) => {
    const { wire } = network();
    wire.take();
    wire.give(spoil(solicit('fec0::15', 'fec0::2', ours)));
    expect(wire.packets()).toEqual([]);
  });
});

describe('the router of IPv6', () => {
  it('says from time to time what the network is', () => {
    const { clock, wire } = network({ mtu: 9000, dhcp: { search: ['example.org'] } });
    const [first] = wire.packets();
    expect(first).toMatchObject({ source: 'fe80::2', destination: 'ff02::1', hopLimit: 255 });
    expect(rightChecksum(first!)).toBe(true);
    const { payload } = first!;
    expect([payload[0], payload[4], payload[5], get16(payload, 6)]).toEqual([134, 64, 0x40, 1800]);
    const options = new Map<number, Uint8Array>();
    for (let at = 16; at < payload.length; at += 8 * payload[at + 1]!) {
      options.set(payload[at]!, payload.subarray(at, at + 8 * payload[at + 1]!));
    }
    expect(options.get(1)).toEqual(bytesOf([1, 1], hostMac));
    expect(get32(options.get(5)!, 4)).toBe(9000);
    const prefix = options.get(3)!;
    expect([prefix[2], prefix[3], formatAddress(prefix.subarray(16))]).toEqual([64, 0xc0, 'fec0::']);
    expect(formatAddress(options.get(25)!.subarray(8))).toBe('fec0::3');
    expect(String.fromCharCode(...options.get(31)!.subarray(8, 21))).toBe('\x07example\x03org\0');
    clock.advance(300_000);
    expect(wire.packets()).toHaveLength(1);
  });

  it('leads nowhere when the network is kept in', () => {
    const { wire } = network({ restrict: true });
    expect(get16(wire.packets()[0]!.payload, 6)).toBe(0);
  });

  it('tells who asks without an address no more often than is good for all', () => {
    const { clock, wire } = network();
    wire.take();
    const ask = ipv6('::', 'ff02::2', 58, icmp6('::', 'ff02::2', 133, 0, new Uint8Array(4)), {
      hopLimit: 255,
      mac: bytesOf('333300000002'),
    });
    for (let count = 0; count < 10; count++) wire.give(ask);
    expect(wire.packets()).toEqual([]);
    clock.advance(3000);
    for (let count = 0; count < 10; count++) wire.give(ask);
    expect(wire.packets()).toHaveLength(1);
  });

  it('is silent while the link is cut, and speaks when it is there again', () => {
    const { clock, net, wire } = network();
    wire.take();
    net.carrier(false);
    clock.advance(1_000_000);
    expect(wire.take()).toEqual([]);
    net.carrier(true);
    expect(wire.packets()).toHaveLength(1);
  });

  it('tells by DHCPv6 where the name server is', () => {
    const { wire } = network();
    wire.take();
    const request = bytesOf('0b a1b2c3 0001 000a 00030001', guestMac, '0006 0002 0017');
    wire.give(udpFrame(['fe80::15', 546], ['ff02::1:2', 547], request, { mac: bytesOf('333300010002') }));
    const answer = wire.packets().find(({ protocol }) => protocol === 17);
    const expected = bytesOf(
      '07 a1b2c3 0001 000a 00030001',
      guestMac,
      '0002 000a 00030001',
      hostMac,
      '0017 0010',
      ip('fec0::3'),
    );
    expect(answer?.payload.subarray(8)).toEqual(expected);
  });
});
