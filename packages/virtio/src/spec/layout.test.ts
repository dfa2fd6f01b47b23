import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../errors.ts';
import { encodeFor, guestView } from './guest-endian.ts';
import { array, be16, be32, bits, bytes, le16, le32, le64, struct, tail, u8 } from './layout.ts';

const inner = struct('inner', { cylinders: le16, heads: u8, sectors: u8 });
const outer = struct('outer', {
  magic: be32,
  capacity: le64,
  geometry: inner,
  mac: bytes(6),
  ports: array(le16, 3),
  event: bits(le16, { desc_event_off: 15, desc_event_wrap: 1 }),
});

describe('struct', () => {
  it('lays fields out in order and without padding', () => {
    expect(outer.size).toBe(4 + 8 + 4 + 6 + 6 + 2);
    expect(outer.field.geometry.offset).toBe(12);
    expect(outer.field.event.offset).toBe(28);
    expect(outer.notation).toBe('struct outer');
    expect(outer.codecs.ports.notation).toBe('le16[3]');
  });

  it('encodes each byte where the notation puts it', () => {
    const encoded = outer.encode({
      magic: 0x01020304,
      capacity: 0x1122334455667788n,
      geometry: { cylinders: 0xabcd, heads: 7, sectors: 9 },
      mac: Uint8Array.of(1, 2, 3),
      ports: [1, 2, 0xffff],
      event: { desc_event_off: 0x7fff, desc_event_wrap: 1 },
    });
    expect([...encoded]).toEqual([
      ...[1, 2, 3, 4, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xcd, 0xab, 7, 9],
      ...[1, 2, 3, 0, 0, 0, 1, 0, 2, 0, 0xff, 0xff, 0xff, 0xff],
    ]);
  });

  it('reads back whatever it wrote, at any base', () => {
    const value = fc.record({
      magic: fc.nat(0xffffffff),
      capacity: fc.bigInt(0n, 2n ** 64n - 1n),
      geometry: fc.record({ cylinders: fc.nat(0xffff), heads: fc.nat(255), sectors: fc.nat(255) }),
      mac: fc.uint8Array({ minLength: 6, maxLength: 6 }),
      ports: fc.array(fc.nat(0xffff), { minLength: 3, maxLength: 3 }),
      event: fc.record({ desc_event_off: fc.nat(0x7fff), desc_event_wrap: fc.nat(1) }),
    });
    fc.assert(
      fc.property(value, fc.nat(64), (written, base) => {
        const view = new DataView(new ArrayBuffer(base + outer.size));
        outer.write(view, base, written);
        expect(outer.read(view, base)).toEqual(written);
        expect(outer.field.magic.get(view, base)).toBe(written.magic);
      }),
    );
  });

  it('leaves fields that are not given alone', () => {
    const view = new DataView(outer.encode({ magic: 5, capacity: 6n }).buffer);
    outer.write(view, 0, { capacity: 7n });
    expect(outer.read(view)).toMatchObject({ magic: 5, capacity: 7n });
  });

  it('has a variable tail of as many whole elements as there is room for', () => {
    const list = struct('list', { count: le16, items: tail(inner) });
    const item = { cylinders: 1, heads: 2, sectors: 3 };
    const encoded = list.encode({ count: 2, items: [item, item] });
    expect(list.size).toBe(2);
    expect(encoded.length).toBe(10);
    expect(list.read(new DataView(encoded.buffer)).items).toEqual([item, item]);
    expect(list.read(new DataView(encoded.buffer, 0, 9)).items).toEqual([item]);
  });

  it('refuses what no structure can hold', () => {
    const code = (make: () => unknown): unknown => {
      try {
        return make();
      } catch (error) {
        return error instanceof UsageError ? error.code : error;
      }
    };
    expect(code(() => struct('bad', { list: tail(u8), after: u8 }))).toBe('BAD_LAYOUT');
    expect(code(() => bits(u8, { wide: 9 }))).toBe('BAD_LAYOUT');
    expect(code(() => outer.encode({ mac: new Uint8Array(7) }))).toBe('BAD_ARGUMENT');
    expect(code(() => outer.encode({ ports: [1] }))).toBe('BAD_ARGUMENT');
  });

  it('follows the byte order of a guest in the legacy interface, but for what is big-endian anyway', () => {
    const layout = struct('mixed', {
      half: le16,
      net: be16,
      word: le32,
      long: le64,
      flags: bits(le16, { low: 4, high: 12 }),
      list: tail(le16),
    });
    const value = { half: 0x0102, net: 0x0304, word: 5, long: 6n, flags: { low: 7, high: 8 }, list: [9, 10] };
    const big = encodeFor('big', layout, value);
    expect([...big.subarray(0, 8)]).toEqual([1, 2, 3, 4, 0, 0, 0, 5]);
    expect(layout.read(guestView(big, 'big'))).toEqual(value);
    expect(encodeFor('little', layout, value)).toEqual(layout.encode(value));
    expect(layout.read(guestView(layout.encode(value), 'little'))).toEqual(value);
  });
});
