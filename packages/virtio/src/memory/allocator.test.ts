import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../errors.ts';
import { Allocator } from './allocator.ts';

describe('an allocator', () => {
  it('gives aligned ranges that never overlap, and has everything back in the end', () => {
    const request = fc.record({
      length: fc.integer({ min: 1, max: 300 }),
      alignment: fc.constantFrom(1, 2, 4, 16, 4096),
      frees: fc.nat(),
    });
    void fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), (requests) => {
        const allocator = new Allocator(0x1004, 0x8000);
        const held: { start: number; length: number }[] = [];
        for (const { length, alignment, frees } of requests) {
          if (frees % 3 === 0 && held.length > 0) {
            allocator.free(held.splice(frees % held.length, 1)[0]!.start);
            continue;
          }
          const start = allocator.allocate(length, alignment);
          expect(start % alignment).toBe(0);
          expect(start >= 0x1004 && start + length <= 0x9004).toBe(true);
          expect(
            held.every((other) => start + length <= other.start || other.start + other.length <= start),
          ).toBe(true);
          held.push({ start, length });
        }
        const used = held.reduce((sum, { length }) => sum + length, 0);
        expect(allocator.available).toBe(0x8000 - used);
        for (const { start } of held) allocator.free(start);
        expect(allocator.available).toBe(0x8000);
        expect(allocator.allocate(0x8000, 4)).toBe(0x1004);
      }),
    );
  });

  it('refuses what it does not have', () => {
    const allocator = new Allocator(0, 100);
    expect(() => allocator.allocate(101)).toThrow(expect.objectContaining({ code: 'OUT_OF_MEMORY' }));
    const address = allocator.allocate(50);
    allocator.free(address);
    expect(() => allocator.free(address)).toThrow(UsageError);
    for (const length of [0, -1, Number.NaN]) expect(() => allocator.allocate(length)).toThrow(UsageError);
    expect(() => allocator.allocate(1, 0)).toThrow(UsageError);
  });
});
