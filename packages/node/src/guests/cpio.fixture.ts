/** What an independent reader finds in a newc archive; written from the format's description, not from the writer. */
export interface ReadEntry {
  readonly path: string;
  readonly mode: number;
  readonly data: Buffer;
  readonly device: readonly [number, number];
}

/** Reads a newc archive to its trailer and fails on anything out of place. */
export function readCpio(archive: Uint8Array): ReadEntry[] {
  const bytes = Buffer.from(archive);
  const entries: ReadEntry[] = [];
  for (let at = 0; ; ) {
    const header = bytes.toString('latin1', at, at + 110);
    if (!/^070701[0-9a-f]{104}$/.test(header)) throw new Error(`no header at ${at}`);
    const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const path = bytes.toString('utf8', at + 110, at + 110 + nameSize - 1);
    if (bytes[at + 110 + nameSize - 1] !== 0) throw new Error(`${path} has no end`);
    const data = Math.ceil((at + 110 + nameSize) / 4) * 4;
    at = Math.ceil((data + size) / 4) * 4;
    if (path === 'TRAILER!!!') {
      if (at !== bytes.length) throw new Error('something follows the trailer');
      return entries;
    }
    entries.push({ path, mode, data: bytes.subarray(data, data + size), device: [field(9), field(10)] });
  }
}
