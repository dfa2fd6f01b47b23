import { expect, test } from 'vitest';
import { longestPacket, packetOf, takePackets } from './packets.ts';

test('a packet has the sum of its characters', () => {
  expect(packetOf('g')).toBe('$g#67');
  expect(packetOf('')).toBe('$#00');
});

test('packets are found wherever what was received is cut', () => {
  const whole = `+${packetOf('OK')}++${packetOf('T05thread:01;')}+`;
  for (let cut = 0; cut <= whole.length; cut++) {
    const first = takePackets(whole.slice(0, cut));
    const second = takePackets((first?.rest ?? '') + whole.slice(cut));
    expect([...(first?.packets ?? []), ...(second?.packets ?? [])]).toEqual(['OK', 'T05thread:01;']);
    expect(second?.rest).toBe('');
  }
});

test('escapes and repetitions are undone', () => {
  expect(takePackets(packetOf('a}\x03b'))?.packets).toEqual(['a#b']);
  expect(takePackets(packetOf('0* 1'))?.packets).toEqual(['00001']);
});

test.each(['x', '$g#00', 'x$g#67', `$${'0'.repeat(longestPacket)}`])('no packet: %.20s', (text) => {
  expect(takePackets(text)).toBeUndefined();
});
