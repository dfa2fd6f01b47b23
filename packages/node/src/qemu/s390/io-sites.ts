/** The I/O instructions that are looked for, by their operation codes. */
const operations = {
  45616: 'CSCH',
  45617: 'HSCH',
  45618: 'MSCH',
  45619: 'SSCH',
  45620: 'STSCH',
  45621: 'TSCH',
  45622: 'TPI',
  45624: 'RSCH',
  45686: 'XSCH',
} as const;

export type IoOperation = (typeof operations)[keyof typeof operations] | 'DIAGNOSE_500';

const byCode: ReadonlyMap<number, IoOperation> = new Map(
  Object.entries(operations).map(([code, name]) => [Number(code), name]),
);

/** An I/O instruction in a program. All of them have 4 bytes. */
export interface IoSite {
  readonly operation: IoOperation;
  /** The operand's base register, 0 for none, and displacement. */
  readonly base: number;
  readonly displacement: number;
}

/** Insert program mask: whoever issues an I/O instruction takes its condition code. */
const insertProgramMask = 0xb222;
/** Bytes behind an instruction within which that happens. */
const near = 12;
/** DIAGNOSE 0x500 with registers 2 and 4, as virtio's hypercall is written. */
const diagnose = { first: 0x8324, second: 0x0500 } as const;

/**
 * Finds the I/O instructions of a program in memory, by its bytes: there need be no symbols. What only looks like one
 * does no harm, since no processor ever comes to execute it.
 *
 * @returns by address
 */
export function findIoSites(program: DataView, start: number): Map<number, IoSite> {
  const sites = new Map<number, IoSite>();
  for (let at = 0; at + 4 + near <= program.byteLength; at += 2) {
    const first = program.getUint16(at);
    const high = first >>> 8;
    if (high !== 0xb2 && first !== diagnose.first) continue;
    const second = program.getUint16(at + 2);
    const operation = first === diagnose.first ? 'DIAGNOSE_500' : byCode.get(first);
    if (operation === undefined) continue;
    const fits = operation === 'DIAGNOSE_500' ? second === diagnose.second : takesCode(program, at + 4);
    if (!fits) continue;
    sites.set(start + at, { operation, base: second >>> 12, displacement: second & 0xfff });
  }
  return sites;
}

function takesCode(program: DataView, from: number): boolean {
  for (let at = from; at < from + near; at += 2) {
    if (program.getUint16(at) === insertProgramMask) return true;
  }
  return false;
}
