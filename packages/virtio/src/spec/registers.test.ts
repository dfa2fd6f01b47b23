import { describe, expect, it } from 'vitest';
import { legacyMmioRegisters } from '../transports/mmio/legacy-registers.ts';
import { mmioRegisters } from '../transports/mmio/registers.ts';
import { legacyRegisters } from '../transports/pci/legacy-registers.ts';
import { headerRegisters, msixEntryRegisters } from '../transports/pci/pci-registers.ts';
import { commonRegisters, isrRegisters } from '../transports/pci/registers.ts';
import { array, bytes, le16, le32, le64, struct, u8 } from './layout.ts';
import { fieldRegisters, RegisterBlock, structRegisters } from './registers.ts';

const block = new RegisterBlock('block', [
  { name: 'wide', offset: 4, width: 4, access: 'read-write' },
  { name: 'narrow', offset: 0, width: 1, access: 'read-only' },
]);

const ours: readonly Pick<RegisterBlock, 'name' | 'registers'>[] = [
  mmioRegisters,
  legacyMmioRegisters,
  headerRegisters,
  msixEntryRegisters,
  commonRegisters,
  isrRegisters,
  legacyRegisters,
];

describe('a block of registers', () => {
  it('finds a register by all of it, and the one that holds a byte', () => {
    expect(block.find(4, 4)?.name).toBe('wide');
    expect([block.find(4, 2), block.find(5, 4), block.find(-1, 4), block.find(0.5, 1)]).toEqual(
      Array(4).fill(undefined),
    );
    expect([0, 1, 4, 7, 8].map((offset) => block.holding(offset)?.name)).toEqual([
      'narrow',
      undefined,
      'wide',
      'wide',
      undefined,
    ]);
    expect([block.size, block.register.wide.offset]).toEqual([8, 4]);
    expect(block.registers.map(({ name }) => name)).toEqual(['narrow', 'wide']);
  });

  it.each(ours)('has no two registers at one place: $name', ({ registers }) => {
    const ends = registers.map(({ offset, width }) => offset + width);
    const starts = registers.map(({ offset }) => offset);
    expect(starts.slice(1).every((start, i) => start >= (ends[i] ?? 0))).toBe(true);
  });
});

describe('the registers of a structure', () => {
  it('are its integers, 64-bit ones in two halves', () => {
    const registers = structRegisters(struct('s', { a: u8, b: le16, c: le64 }), { readOnly: ['b'] });
    expect(registers.map(({ name, offset, width, access }) => [name, offset, width, access])).toEqual([
      ['a', 0, 1, 'read-write'],
      ['b', 1, 2, 'read-only'],
      ['c_lo', 3, 4, 'read-write'],
      ['c_hi', 7, 4, 'read-write'],
    ]);
    // @ts-expect-error An array of bytes is no register.
    structRegisters(struct('s', { mac: bytes(6) }));
  });

  it('reach into arrays and nested structures', () => {
    const geometry = struct('geometry', { cylinders: le16, heads: u8 });
    const whole = struct('s', { mac: bytes(2), geometry, words: array(le32, 2) });
    const registers = fieldRegisters(whole, { readWrite: ['geometry'] });
    expect(registers.map(({ name, offset, width, access }) => [name, offset, width, access])).toEqual([
      ['mac[0]', 0, 1, 'read-only'],
      ['mac[1]', 1, 1, 'read-only'],
      ['geometry.cylinders', 2, 2, 'read-write'],
      ['geometry.heads', 4, 1, 'read-write'],
      ['words[0]', 5, 4, 'read-only'],
      ['words[1]', 9, 4, 'read-only'],
    ]);
  });
});
