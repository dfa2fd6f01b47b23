import { GuestMemory } from 'virtio/memory';
import { expect, test } from 'vitest';
import { translate } from './translation.ts';

const region3 = 0x1_0000;
const segment = 0x2_0000;
const page = 0x3_0800;
/** An address-space-control element of a region-third table. */
const control = BigInt(region3) | 0x7n;
const invalid = 0x20n;
const address = (5n << 31n) | (6n << 20n) | (7n << 12n) | 0x123n;

function tables(entries: Readonly<Record<number, bigint>>): GuestMemory {
  const memory = GuestMemory.ofSize(0x4_0000);
  for (const [at, entry] of Object.entries(entries)) {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, entry);
    memory.write(Number(at), new Uint8Array(view.buffer));
  }
  return memory;
}

const path = {
  [region3 + 5 * 8]: BigInt(segment) | 0x7n,
  [segment + 6 * 8]: BigInt(page),
  [page + 7 * 8]: 0xabc_d000n | 0x200n,
};

test('region-third, segment and page tables lead to a page', () => {
  expect(translate(tables(path), control, address)).toBe(0xabc_d123n);
});

test('an address space may begin at its segment table', () => {
  expect(translate(tables(path), BigInt(segment) | 0x3n, address & 0x7fff_ffffn)).toBe(0xabc_d123n);
  expect(translate(tables(path), BigInt(segment) | 0x3n, address)).toBeUndefined();
});

test('and at a higher table', () => {
  const memory = tables({ ...path, 4104: invalid, 4096: BigInt(region3) | 0x7n });
  expect(translate(memory, 0x1000n | 0xbn, address)).toBe(0xabc_d123n);
  expect(translate(memory, 0x1000n | 0xbn, address + (1n << 42n))).toBeUndefined();
});

test('frames may be large', () => {
  const big = tables({ ...path, [segment + 6 * 8]: 0x7f0_0000n | 0x400n });
  expect(translate(big, control, address)).toBe(0x7f0_7123n);
  const huge = tables({ ...path, [region3 + 5 * 8]: 0x8000_0000n | 0x400n });
  expect(translate(huge, control, address)).toBe(0x8000_0000n + (address & 0x7fff_ffffn));
});

test('a real space has no tables', () => {
  expect(translate(tables({}), 0x20n, address)).toBe(address);
});

test.each([region3 + 5 * 8, segment + 6 * 8, page + 7 * 8])('what is invalid at 0x%x maps nothing', (at) => {
  const bit = at >= page ? 0x400n : invalid;
  expect(translate(tables({ ...path, [at]: (path[at] ?? 0n) | bit }), control, address)).toBeUndefined();
});

test('tables in no memory map nothing', () => {
  expect(translate(tables(path), (2n ** 60n) | 0x7n, address)).toBeUndefined();
});
