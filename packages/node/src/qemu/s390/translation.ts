import type { GuestMemory } from 'virtio/memory';

/** Bits of an address-space-control element, and of the entries that it leads to. */
const asce = { ORIGIN: ~0xfffn, REAL_SPACE: 0x20n, TYPE_SHIFT: 2n } as const;
const entry = { INVALID: 0x20n, FORMAT: 0x400n, PAGE_INVALID: 0x400n } as const;

/** The tables from the highest to the lowest: from which bit on they are indexed, with 11 bits each. */
const tables = [53n, 42n, 31n, 20n] as const;
const pageShift = 12n;
/** At this bit of an entry of a region-third or segment table large frames begin. */
const largestFrame = { 31: 31n, 20: 20n } as const;

/**
 * The real address of a virtual one, by the tables of an address space: what dynamic address translation does, without
 * its exceptions. `undefined` where nothing is mapped.
 *
 * @param control the address-space-control element, as a control register has it
 */
export function translate(memory: GuestMemory, control: bigint, address: bigint): bigint | undefined {
  if ((control & asce.REAL_SPACE) !== 0n) return address;
  let origin = control & asce.ORIGIN;
  const first = 3 - Number((control >> asce.TYPE_SHIFT) & 3n);
  if (first > 0 && address >> ((tables[first] ?? 0n) + 11n) !== 0n) return undefined;
  for (const shift of tables.slice(first)) {
    const found = load(memory, origin + ((address >> shift) & 0x7ffn) * 8n);
    if (found === undefined || (found & entry.INVALID) !== 0n) return undefined;
    if (shift <= largestFrame[31] && (found & entry.FORMAT) !== 0n) {
      const within = (1n << shift) - 1n;
      return (found & ~within) | (address & within);
    }
    origin = found & (shift === 20n ? ~0x7ffn : asce.ORIGIN);
  }
  const page = load(memory, origin + ((address >> pageShift) & 0xffn) * 8n);
  if (page === undefined || (page & entry.PAGE_INVALID) !== 0n) return undefined;
  return (page & asce.ORIGIN) | (address & 0xfffn);
}

function load(memory: GuestMemory, at: bigint): bigint | undefined {
  const address = Number(at);
  if (!memory.contains(address, 8, 'read')) return undefined;
  return new DataView(memory.read(address, 8).buffer).getBigUint64(0);
}
