import { describe, expect, it } from 'vitest';
import { macText } from '../link/mac.ts';
import { userNetwork } from './network.ts';
import type { NetworkOptions } from './options.ts';
import {
  broadcastMac,
  bytesOf,
  dhcp,
  dhcpOptions,
  guestMac,
  SimulatedClock,
  udpFrame,
  Wire,
} from './wire.fixture.ts';

type Option = readonly [code: number, ...value: number[]];

const [discover, request, decline, release, inform] = [1, 3, 4, 7, 8].map((type): Option => [53, type]);
const host: Option = [54, 10, 0, 2, 2];
const wish = (last: number): Option => [50, 10, 0, 2, last];
const mac = (last: number): Uint8Array => bytesOf([2, 0, 0, 0, 0, last]);

function network(options: NetworkOptions = {}) {
  const clock = new SimulatedClock();
  const wire = new Wire(userNetwork({ clock, ipv6: false, ...options }));
  /** Sends a message of a guest, and reads the answer. */
  const ask = (
    from: Uint8Array,
    options: readonly Option[],
    more: { client?: string; flags?: number } = {},
  ) => {
    const source = more.client ?? '0.0.0.0';
    const bytes = dhcp(options, { mac: from, ...more });
    const to = source === '0.0.0.0' ? '255.255.255.255' : '10.0.2.2';
    const headers = to === '10.0.2.2' ? { from } : { mac: broadcastMac, from };
    wire.give(udpFrame([source, 68], [to, 67], bytes, headers));
    const [answer] = wire.packets();
    if (answer === undefined) return undefined;
    const payload = answer.payload.subarray(8);
    const found = dhcpOptions(payload);
    return {
      type: found.get(53)?.[0],
      yours: payload.subarray(16, 20).join('.'),
      to: answer.destination,
      mac: answer.mac,
      options: found,
      payload,
    };
  };
  return { clock, wire, ask };
}

describe('the server of DHCP', () => {
  it('gives each guest an address, and the same one again', () => {
    const { ask } = network();
    expect(ask(mac(1), [discover!])).toMatchObject({ type: 2, yours: '10.0.2.15' });
    expect(ask(mac(2), [discover!])).toMatchObject({ type: 2, yours: '10.0.2.16' });
    expect(ask(mac(1), [request!, wish(15), host])).toMatchObject({ type: 5, yours: '10.0.2.15' });
    expect(ask(mac(1), [discover!])).toMatchObject({ type: 2, yours: '10.0.2.15' });
  });

  it('knows a guest by the name that it gives itself', () => {
    const { ask } = network();
    const me: Option = [61, 255, 1, 2, 3];
    expect(ask(mac(1), [discover!, me])?.yours).toBe('10.0.2.15');
    expect(ask(mac(2), [discover!, me])?.yours).toBe('10.0.2.15');
    expect(ask(mac(1), [discover!])?.yours).toBe('10.0.2.16');
  });

  it('gives a guest the address that it would like, if nobody has it', () => {
    const { ask } = network();
    expect(ask(mac(1), [discover!, wish(99)])?.yours).toBe('10.0.2.99');
    expect(ask(mac(2), [discover!, wish(99)])?.yours).toBe('10.0.2.15');
    for (const last of [0, 2, 3, 255]) expect(ask(mac(100 + last), [discover!, wish(last)])?.type).toBe(2);
    expect(ask(mac(9), [discover!, wish(2)])?.yours).not.toBe('10.0.2.2');
  });

  it('says no to who wants what it cannot have', () => {
    const { ask } = network();
    ask(mac(1), [request!, wish(15), host]);
    const nak = ask(mac(2), [request!, wish(15), host]);
    expect(nak).toMatchObject({ type: 6, yours: '0.0.0.0', to: '255.255.255.255' });
    expect(ask(mac(2), [request!, [50, 192, 168, 1, 5]])?.type).toBe(6);
    expect(ask(mac(2), [request!, wish(2)])?.type).toBe(6);
  });

  it('renews a lease where the guest is', () => {
    const { ask } = network();
    ask(mac(1), [request!, wish(15), host]);
    const renewed = ask(mac(1), [request!], { client: '10.0.2.15' });
    expect(renewed).toMatchObject({ type: 5, yours: '10.0.2.15', to: '10.0.2.15', mac: macText(mac(1)) });
  });

  it('answers to all where the guest cannot hear otherwise', () => {
    const { ask } = network();
    expect(ask(mac(1), [discover!], { flags: 0x8000 })).toMatchObject({ to: '255.255.255.255' });
    expect(ask(mac(1), [discover!])).toMatchObject({ to: '10.0.2.15', mac: macText(mac(1)) });
  });

  it('tells a guest with an address of its own about the network', () => {
    const { ask } = network();
    const told = ask(mac(1), [inform!], { client: '10.0.2.77' });
    expect(told).toMatchObject({ type: 5, yours: '0.0.0.0', to: '10.0.2.77' });
    expect(told?.options.get(6)).toEqual([10, 0, 2, 3]);
    expect(told?.options.has(51)).toBe(false);
  });

  it('gives up what was released, and leaves alone what is in use', () => {
    const { ask, clock } = network();
    ask(mac(1), [request!, wish(15), host]);
    expect(ask(mac(1), [release!], { client: '10.0.2.15' })).toBeUndefined();
    expect(ask(mac(2), [discover!])?.yours).toBe('10.0.2.15');
    expect(ask(mac(2), [decline!, wish(15)])).toBeUndefined();
    expect(ask(mac(2), [discover!])?.yours).toBe('10.0.2.16');
    expect(ask(mac(3), [request!, wish(15)])?.type).toBe(6);
    clock.advance(600_001);
    expect(ask(mac(3), [request!, wish(15)])?.type).toBe(5);
  });

  it('gives an address to another when its lease has ended', () => {
    const { ask, clock } = network({
      dhcp: { leaseTime: 100 },
      ipv4: { network: '10.0.2.0/28', guest: '10.0.2.13' },
    });
    for (const last of [1, 2]) expect(ask(mac(last), [request!, wish(12 + last), host])?.type).toBe(5);
    expect(ask(mac(3), [discover!])).toBeUndefined();
    clock.advance(100_001);
    expect(ask(mac(3), [discover!])?.yours).toBe('10.0.2.13');
  });

  it('ignores who means another server', () => {
    const { ask } = network();
    expect(ask(mac(1), [request!, wish(15), [54, 10, 0, 2, 9]])).toBeUndefined();
    expect(ask(mac(1), [discover!])?.yours).toBe('10.0.2.15');
  });

  it('needs one exchange with those who ask for that, and with those of BOOTP', () => {
    const { ask } = network();
    const rapid = ask(mac(1), [discover!, [80]]);
    expect([rapid?.type, rapid?.options.has(80)]).toEqual([5, true]);
    expect(ask(mac(2), [])).toMatchObject({ type: undefined, yours: '10.0.2.16' });
  });

  it('names no way out of a network that has none', () => {
    const { ask } = network({ restrict: true });
    const options = ask(guestMac, [discover!])?.options;
    expect([options?.has(3), options?.has(6), options?.has(1)]).toEqual([false, false, true]);
  });

  it('tells firmware what to start', () => {
    const { ask } = network({
      dhcp: { bootFile: 'boot.efi', bootServer: '10.0.2.4', search: ['example.org'] },
    });
    const offer = ask(guestMac, [discover!]);
    expect(String.fromCharCode(...(offer?.options.get(67) ?? []))).toBe('boot.efi');
    expect(String.fromCharCode(...(offer?.options.get(66) ?? []))).toBe('10.0.2.4');
    expect(offer?.payload.subarray(20, 24).join('.')).toBe('10.0.2.4');
    expect(String.fromCharCode(...(offer?.options.get(119) ?? []))).toBe('\x07example\x03org\0');
  });

  it.each([
    [{ dhcp: { leaseTime: 0 } }],
    [{ dhcp: { hostname: 'two words' } }],
    [{ dhcp: { bootServer: 'example.org' } }],
    [{ ipv4: { guest: '10.0.3.15' } }],
    [{ ipv4: { host: '10.0.2.3' } }],
    [{ ipv4: { network: '10.0.2.0/31' } }],
    [{ ipv6: { prefix: 'fec0::/48' } }],
    [{ mtu: 500 }],
    [{ mac: '52:55:0a' }],
    [{ limits: { connections: 0 } }],
    [{ names: { a: 'b' } }],
  ])('is not given what makes no sense: %j', (options) => {
    expect(() => userNetwork(options)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
