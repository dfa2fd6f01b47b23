import { expect, test } from 'vitest';
import { findIoSites } from './io-sites.ts';

const find = (code: string) => {
  const bytes = Uint8Array.from(Buffer.from(code.replaceAll(' ', '') + '0700'.repeat(8), 'hex'));
  return [...findIoSites(new DataView(bytes.buffer), 0x10_0000)];
};

test('an instruction whose condition code is taken is found, with its operand', () => {
  // lgr 1,2; ssch 8(3); ipm 2
  expect(find('b9040012 b2333008 b2220020')).toEqual([
    [0x10_0004, { operation: 'SSCH', base: 3, displacement: 8 }],
  ]);
  // tpi 0; la 1,0; ipm 0
  expect(find('b2360000 41100000 b2220000')).toEqual([
    [0x10_0000, { operation: 'TPI', base: 0, displacement: 0 }],
  ]);
});

test('virtio’s hypercall is found, and no other one', () => {
  expect(find('83240500 a719ffff')).toEqual([
    [0x10_0000, { operation: 'DIAGNOSE_500', base: 0, displacement: 0x500 }],
  ]);
  expect(find('83240044 a719ffff')).toEqual([]);
});

test('bytes that only look like an instruction are left out', () => {
  expect(find('b2333008 07000700 07000700 07000700 b2220020')).toEqual([]);
});
