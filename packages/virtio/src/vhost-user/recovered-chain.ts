import type { GuestMemory } from '../memory/guest-memory.ts';
import type { SavedChain } from '../virtqueue/queue.ts';
import { virtqDescFlags } from '../virtqueue/split/layout.ts';

const { NEXT, WRITE, INDIRECT } = virtqDescFlags;

/** A descriptor of either ring; `last` is `next` in a split ring and the Buffer ID in a packed one. */
export interface RawDescriptor {
  readonly address: number;
  readonly length: number;
  readonly flags: number;
  readonly last: number;
}

/** Collects elements in their order; the driver wrote them, so it may have them wrong. */
class Elements {
  readonly #readable: number[] = [];
  readonly #writable: number[] = [];

  /** False when it may not stand there. */
  add({ address, length, flags }: RawDescriptor): boolean {
    const isWritable = (flags & WRITE) !== 0;
    if (!isWritable && this.#writable.length > 0) return false;
    (isWritable ? this.#writable : this.#readable).push(address, length);
    return true;
  }

  saved(id: number, count: number): SavedChain {
    return { id, count, readable: this.#readable, writable: this.#writable };
  }
}

/**
 * The buffer that begins at a head of a split ring's descriptor table, read once more after the process that took it
 * has died; `undefined` when it is none any more.
 */
export function recoverSplitChain(
  memory: GuestMemory,
  descriptorArea: number,
  size: number,
  head: number,
): SavedChain | undefined {
  const elements = new Elements();
  let table = descriptorArea;
  let entries = size;
  let index = head;
  // One more for the descriptor of an indirect table.
  for (let left = size + 1; left > 0 && index < entries; left--) {
    const descriptor = splitDescriptor(memory, table + 16 * index);
    if (descriptor === undefined) return undefined;
    const { flags } = descriptor;
    if ((flags & INDIRECT) !== 0) {
      if (table !== descriptorArea || (flags & NEXT) !== 0 || descriptor.length % 16 !== 0) return undefined;
      table = descriptor.address;
      entries = descriptor.length / 16;
      index = 0;
      continue;
    }
    if (!elements.add(descriptor)) return undefined;
    if ((flags & NEXT) === 0) return elements.saved(head, 1);
    index = descriptor.last;
  }
  return undefined;
}

/** The buffer that a list of descriptors of a packed ring stood for; `undefined` when they are none. */
export function recoverPackedChain(
  memory: GuestMemory,
  size: number,
  list: readonly RawDescriptor[],
): SavedChain | undefined {
  const last = list.at(-1);
  if (last === undefined) return undefined;
  const elements = new Elements();
  const isIndirect = (last.flags & INDIRECT) !== 0;
  if (isIndirect && (list.length > 1 || last.length % 16 !== 0 || last.length > 16 * size)) return undefined;
  const count = isIndirect ? last.length / 16 : list.length;
  for (let i = 0; i < count; i++) {
    const descriptor = isIndirect ? packedDescriptor(memory, last.address + 16 * i) : list[i];
    if (descriptor === undefined || !elements.add(descriptor)) return undefined;
  }
  return elements.saved(last.last, list.length);
}

function splitDescriptor(memory: GuestMemory, address: number): RawDescriptor | undefined {
  return descriptorAt(memory, address, 12, 14);
}

function packedDescriptor(memory: GuestMemory, address: number): RawDescriptor | undefined {
  return descriptorAt(memory, address, 14, 12);
}

function descriptorAt(
  memory: GuestMemory,
  address: number,
  flagsAt: number,
  lastAt: number,
): RawDescriptor | undefined {
  if (!memory.contains(address, 16)) return undefined;
  const view = new DataView(memory.read(address, 16).buffer);
  return {
    address: view.getUint32(4, true) * 0x1_0000_0000 + view.getUint32(0, true),
    length: view.getUint32(8, true),
    flags: view.getUint16(flagsAt, true),
    last: view.getUint16(lastAt, true),
  };
}
