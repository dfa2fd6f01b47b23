import { expect, it } from 'vitest';
import { exitStatus } from '../exit-status.ts';
import { parseNets } from './plan.ts';

const none = { mac: undefined, mtu: undefined };

it('reads what a network is to be', () => {
  const forward = { protocol: 'tcp', address: '127.0.0.1', port: 8080, guestPort: 80 };
  const other = { protocol: 'udp', address: '::1', port: 53, guestPort: 5353 };
  const any = { protocol: 'tcp', address: '0.0.0.0', port: 22, guestPort: 22 };
  for (const [text, plan] of [
    ['user', { kind: 'user', forwards: [], restrict: false, ...none }],
    [
      'user,forward=tcp:8080:80,restrict,forward=udp:[::1]:53:5353,forward=tcp:0.0.0.0:22:22',
      { kind: 'user', forwards: [forward, other, any], restrict: true, ...none },
    ],
    ['stream:/run/net', { kind: 'stream', address: { path: '/run/net' }, listens: false, ...none }],
    ['stream:unix:a:b,listen', { kind: 'stream', address: { path: 'a:b' }, listens: true, ...none }],
    ['stream:tcp:[::1]:90', { kind: 'stream', address: { host: '::1', port: 90 }, listens: false, ...none }],
    [
      'tap:tap0,mtu=9000,mac=2:0:0:a:B:c',
      { kind: 'tap', name: 'tap0', queues: 1, mtu: 9000, mac: Uint8Array.of(2, 0, 0, 10, 11, 12) },
    ],
    ['tap:t,queues=4', { kind: 'tap', name: 't', queues: 4, ...none }],
  ] as const) {
    expect(parseNets([text])).toEqual([{ text, ...plan }]);
  }
  expect(parseNets(['none'])).toEqual([]);
  expect(parseNets(['user', 'tap:a', 'user']).map(({ kind }) => kind)).toEqual(['user', 'tap', 'user']);
});

it.each([
  [['none', 'user'], /--net none does not go with another/],
  [['slirp'], /slirp is no network; give one of user, stream, tap, none/],
  [['user:1'], /stand behind a comma/],
  [['user,forward'], /forward needs a value/],
  [['user,forward=tcp:80'], /forward=tcp:80 is none; give tcp:8080:80/],
  [['user,forward=icmp:1:2'], /is none/],
  [['user,forward=tcp:0:80'], /0 is no port/],
  [['user,forward=tcp:1:70000'], /70000 is no port/],
  [['user,forward=tcp:1:2,forward=tcp:1:3'], /tcp:127.0.0.1:1 is forwarded twice/],
  [['user,forward=tcp:1:2', 'user,forward=tcp:1:3'], /is forwarded twice/],
  [['user,restrict=on'], /restrict has no value/],
  [['user,hostfwd=tcp::1-:2'], /hostfwd is no option of it/],
  [['stream'], /names no socket/],
  [['stream:unix:'], /names no socket/],
  [['stream:tcp:host'], /give tcp:HOST:PORT/],
  [['stream:a,forward=tcp:1:2'], /forward is no option of it/],
  [['tap'], /names no interface/],
  [['tap:a,queues=0'], /queues are a number from 1 to 256/],
  [['tap:a,mtu=100'], /an MTU is a number of bytes/],
  [['tap:a,mtu=1500,mtu=1500'], /mtu is given twice/],
  [['tap:a,mac=1:2:3'], /a MAC address has six bytes/],
  [['tap:a,mac=01:00:00:00:00:00'], /address of a group/],
])('refuses --net %j', (texts, message) => {
  expect(() => parseNets(texts)).toThrow(
    expect.objectContaining({ status: exitStatus.usage, message: expect.stringMatching(message) }),
  );
});
