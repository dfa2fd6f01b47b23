import type { Descriptor, DescriptorHost, MappedMemory } from '../channel/descriptors.ts';
import { orByte } from '../memory/atomics.ts';
import { maxViewLength, Region } from '../memory/region.ts';
import type { StructValue } from '../spec/layout.ts';
import { bad } from './message-stream.ts';
import type { VhostUserLog } from './payloads.ts';
import { logPageSize } from './protocol.ts';

/** The front end's record of the pages that a device has written: a bit for each, from guest address 0. */
export class DirtyLog {
  readonly #mapping: MappedMemory;
  readonly #bits: Region;

  /**
   * The descriptor stays the caller's.
   *
   * @throws {PeerError} BAD_MESSAGE for a log that cannot be.
   * @throws {HostError} when it cannot be mapped.
   */
  constructor(
    host: DescriptorHost,
    descriptor: Descriptor,
    of: StructValue<(typeof VhostUserLog)['codecs']>,
  ) {
    const { mmap_size, mmap_offset } = of;
    const tooLarge = mmap_size > BigInt(maxViewLength) || mmap_offset > BigInt(Number.MAX_SAFE_INTEGER);
    if (mmap_size === 0n || tooLarge || mmap_offset % 4n !== 0n) {
      throw bad(`the log has ${mmap_size} bytes, ${mmap_offset} bytes into its memory`);
    }
    this.#mapping = host.map(descriptor, Number(mmap_offset), Number(mmap_size));
    this.#bits = new Region(0, this.#mapping.pieces[0] ?? { buffer: new ArrayBuffer(0) }, { shared: true });
  }

  /** Something was written at these guest addresses. What the log does not cover goes unrecorded. */
  mark(address: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((address + length - 1) / logPageSize);
    for (let page = Math.floor(address / logPageSize); page <= last; page++) {
      const byte = Math.floor(page / 8);
      if (byte >= this.#bits.length) return;
      orByte(this.#bits, byte, 1 << (page % 8));
    }
  }

  /** Nothing may be marked any more. */
  close(): void {
    this.#mapping.close();
  }
}
