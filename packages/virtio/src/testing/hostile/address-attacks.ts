import type { GuestMemory } from '../../memory/guest-memory.ts';
import { RawPackedRing } from '../raw/packed-ring.ts';
import { INDIRECT, type RawRing, WRITE } from '../raw/ring.ts';
import { RawSplitRing } from '../raw/split-ring.ts';
import { type AnyRingAttack, needsIndirect } from './driver-attack.ts';

/** A range that is not all memory. */
interface BadRange {
  readonly name: string;
  readonly address: bigint;
  /** Bytes; a multiple of 16, so that it may be a table. */
  readonly length: number;
}

/** Every edge of every region of a memory, and the ends of the address space. */
function badRanges(memory: GuestMemory): BadRange[] {
  const ranges: BadRange[] = [
    { name: 'at 2^53', address: 2n ** 53n, length: 16 },
    { name: 'at 2^63', address: 2n ** 63n, length: 16 },
    { name: 'at the end of the address space', address: 2n ** 64n - 16n, length: 16 },
    { name: 'around the end of the address space', address: 2n ** 64n - 16n, length: 0xffff_fff0 },
    { name: 'from the first byte on, as long as can be', address: 0n, length: 0xffff_fff0 },
  ];
  for (const [i, { start, end }] of memory.regions.entries()) {
    ranges.push(
      { name: `before region ${i}`, address: BigInt(start) - 16n, length: 16 },
      { name: `across the beginning of region ${i}`, address: BigInt(start) - 8n, length: 16 },
      { name: `across the end of region ${i}`, address: BigInt(end) - 15n, length: 16 },
      { name: `at the end of region ${i}`, address: BigInt(end), length: 16 },
    );
  }
  return ranges.filter(({ address, length }) => {
    return address >= 0n && !(address < 2n ** 53n && memory.contains(Number(address), length));
  });
}

/** Elements and tables at addresses that are not memory. */
export function addressAttacks(memory: GuestMemory): AnyRingAttack[] {
  return badRanges(memory).flatMap((range): AnyRingAttack[] => [
    attack(`a device-readable element ${range.name}`, range, 0),
    attack(`a device-writable element ${range.name}`, range, WRITE),
    { ...attack(`an indirect table ${range.name}`, range, INDIRECT), skip: needsIndirect },
  ]);
}

function attack(name: string, { address, length }: BadRange, flags: number): AnyRingAttack {
  return {
    name,
    ring: 'any',
    expects: ['ADDRESS_OUT_OF_BOUNDS', 'INDIRECT_TABLE_SIZE', 'PACKED_CHAIN_TOO_LONG', 'CHAIN_TOO_LONG'],
    run: ({ ring }) => offerRaw(ring, { address, length, flags }),
  };
}

/** Makes one descriptor available, whatever stands in it. */
function offerRaw(
  ring: RawRing,
  descriptor: { readonly address: number | bigint; readonly length: number; readonly flags: number },
): void {
  if (ring instanceof RawSplitRing) {
    ring.describe(0, descriptor);
    ring.publish(0);
  } else if (ring instanceof RawPackedRing) {
    ring.push({ ...descriptor, id: 0 });
  }
}
