import { describe, expect, it } from 'vitest';
import { addressFrom, formatAddress, isPlace, Prefix } from './address.ts';

describe('addresses', () => {
  it.each([
    ['10.0.2.15', '10.0.2.15'],
    ['fec0::2', 'fec0::2'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
    ['0:0:1::', '0:0:1::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['fe80:0:0:0:0:0:0:1', 'fe80::1'],
  ])('%s is written %s', (text, written) => {
    const bytes = addressFrom(text);
    expect(bytes && formatAddress(bytes)).toBe(written);
    expect(bytes && addressFrom(formatAddress(bytes))).toEqual(bytes);
  });

  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '01.2.3.4',
    '1.2.3.4 ',
    'fe80::1%eth0',
    ':',
    ':::',
    '1::2::3',
  ])('"%s" is none', (text) => {
    expect(addressFrom(text)).toBeUndefined();
  });

  it.each([
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
  ])('"%s" is none of IPv6', (text) => {
    expect(addressFrom(text)).toBeUndefined();
  });

  it.each([
    ['10.1.2.3', true],
    ['2001:db8::1', true],
    ['0.0.0.0', false],
    ['0.1.2.3', false],
    ['127.0.0.1', false],
    ['127.255.0.1', false],
    ['224.0.0.251', false],
    ['255.255.255.255', false],
    ['::', false],
    ['::1', false],
    ['::ffff:127.0.0.1', false],
    ['::127.0.0.1', false],
    ['fe80::1', false],
    ['ff02::1', false],
  ])('%s is a place: %s', (text, place) => {
    expect(isPlace(addressFrom(text) ?? new Uint8Array(4))).toBe(place);
  });

  it('begin alike as far as a prefix says', () => {
    const prefix = Prefix.parse('10.0.2.0/23', 4);
    expect(
      ['10.0.2.0', '10.0.3.255', '10.0.4.0', '10.0.1.255'].map((text) => prefix.has(addressFrom(text)!)),
    ).toEqual([true, true, false, false]);
    expect([formatAddress(prefix.mask), formatAddress(prefix.last)]).toEqual(['255.255.254.0', '10.0.3.255']);
    expect(Prefix.parse('0.0.0.0/0', 4).has(Uint8Array.of(9, 9, 9, 9))).toBe(true);
    expect(() => Prefix.parse('10.0.2.0/33', 4)).toThrow('is no prefix');
  });
});
