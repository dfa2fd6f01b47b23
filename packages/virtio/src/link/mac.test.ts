import { describe, expect, it } from 'vitest';
import { isMulticast, macAddress, macNumber, macText, randomMac } from './mac.ts';

describe('MAC addresses', () => {
  it.each([
    ['52:54:00:12:34:56', '52:54:00:12:34:56'],
    ['2:0:0:a:B:c', '02:00:00:0a:0b:0c'],
    ['52-54-00-12-34-56', '52:54:00:12:34:56'],
  ])('%s is %s', (text, written) => {
    expect(macText(macAddress(text))).toBe(written);
    expect(macAddress(macAddress(text))).toEqual(macAddress(text));
  });

  it.each(['', '1:2:3:4:5', '1:2:3:4:5:6:7', '52:54:00:12:34:567', '52:54:00:12:34:5g', '52:54-00:12:34:56'])(
    '"%s" is none',
    (text) => {
      expect(() => macAddress(text)).toThrow(`${text}: a MAC address has six bytes`);
    },
  );

  it('takes six bytes and no other number of them', () => {
    expect(() => macAddress(new Uint8Array(7))).toThrow('7 bytes: a MAC address has six bytes');
  });

  it('knows groups, and makes addresses of nobody', () => {
    expect(isMulticast(macAddress('33:33:00:00:00:01'))).toBe(true);
    const mac = randomMac();
    expect([mac.length, isMulticast(mac), (mac[0] ?? 0) & 2]).toEqual([6, false, 2]);
    expect(macNumber(macAddress('ff:ee:dd:cc:bb:aa'), 0)).toBe(0xffeeddccbbaa);
  });
});
