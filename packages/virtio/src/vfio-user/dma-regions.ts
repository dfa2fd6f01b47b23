import type { DescriptorHost, MappedMemory } from '../channel/descriptors.ts';
import type { Access, GuestMemory } from '../memory/guest-memory.ts';
import type { Region } from '../memory/region.ts';
import { type Answer, type Command, number64, refuse } from './command.ts';
import { dmaFlag, dmaUnmapFlag, vfio_user_dma_map, vfio_user_dma_unmap } from './messages.ts';

/** Regions begin and end at pages of this many bytes. */
export const dmaPageSize = 4096;

const both = dmaFlag.READABLE | dmaFlag.WRITEABLE;

/** A range of bus addresses that the client gave. */
interface DmaRegion {
  readonly address: number;
  readonly end: number;
  /** What of it the device can reach; nothing where the client shares no memory. */
  readonly regions: readonly Region[];
  readonly mapping: MappedMemory | undefined;
  /** An or of `dmaFlag`. */
  readonly flags: number;
}

/** Contiguous bytes of one region. */
export interface DmaPart {
  /** Bytes. */
  readonly length: number;
  /** Where they are; nowhere if the client has to be asked for them. */
  readonly memory: GuestMemory | undefined;
}

/**
 * The client's memory. What it shares with a descriptor, to be read and written, is memory to the device; all else the
 * client has to be asked for.
 */
export class DmaRegions {
  readonly #memory: GuestMemory;
  readonly #host: DescriptorHost;
  readonly #most: number;
  readonly #all = new Map<number, DmaRegion>();

  constructor(memory: GuestMemory, host: DescriptorHost, most: number) {
    this.#memory = memory;
    this.#host = host;
    this.#most = most;
  }

  /** What a range of addresses is made of; `undefined` when some of it was not given for the access. */
  parts(address: number, length: number, access: Access): readonly DmaPart[] | undefined {
    const needed = access === 'read' ? dmaFlag.READABLE : dmaFlag.WRITEABLE;
    const parts: DmaPart[] = [];
    for (let at = address; at < address + length; ) {
      const found = this.#at(at);
      if (found === undefined || (found.flags & needed) === 0) return undefined;
      const end = Math.min(found.end, address + length);
      parts.push({ length: end - at, memory: found.mapping === undefined ? undefined : this.#memory });
      at = end;
    }
    return parts;
  }

  map(command: Command): Answer {
    const { flags, offset, address, size } = command.read(vfio_user_dma_map);
    const start = number64(address, 'the address of a DMA region');
    const length = number64(size, 'the size of a DMA region');
    const from = number64(offset, 'the offset of a DMA region');
    if (length === 0 || [start, length, from].some((value) => value % dmaPageSize !== 0)) {
      refuse('EINVAL', `the DMA region of ${length} bytes at ${start} is not one of whole pages`);
    }
    const end = number64(address + size, 'the end of a DMA region');
    if (this.#all.size >= this.#most) refuse('ENOSPC', `there are ${this.#most} DMA regions already`);
    for (const other of this.#all.values()) {
      if (start < other.end && other.address < end) {
        refuse('EEXIST', `a DMA region at ${start} overlaps the one at ${other.address}`);
      }
    }
    const mapping = (flags & both) === both ? this.#mapped(command, from, length) : undefined;
    const regions = this.#add(start, mapping);
    this.#all.set(start, { address: start, end, mapping, regions, flags: flags & both });
    return {};
  }

  unmap(command: Command): Answer {
    const { flags, address, size } = command.read(vfio_user_dma_unmap);
    if ((flags & dmaUnmapFlag.ALL) !== 0) {
      this.clear();
      return { payload: [command.data(0)] };
    }
    const found = this.#all.get(Number(address));
    if (found === undefined || BigInt(found.end) !== address + size) {
      refuse('ENOENT', `no DMA region of ${size} bytes is at ${address}`);
    }
    this.#drop(found);
    return { payload: [command.data(0)] };
  }

  clear(): void {
    for (const one of [...this.#all.values()]) this.#drop(one);
  }

  #at(address: number): DmaRegion | undefined {
    for (const one of this.#all.values()) if (address >= one.address && address < one.end) return one;
    return undefined;
  }

  #mapped(command: Command, from: number, length: number): MappedMemory | undefined {
    const descriptor = command.take(0);
    if (descriptor === undefined) return undefined;
    try {
      return this.#host.map(descriptor, from, length);
    } catch (error) {
      return refuse(
        'EINVAL',
        `a DMA region cannot be mapped: ${error instanceof Error ? error.message : error}`,
      );
    } finally {
      descriptor.close();
    }
  }

  #add(start: number, mapping: MappedMemory | undefined): Region[] {
    const regions: Region[] = [];
    let at = start;
    for (const piece of mapping?.pieces ?? []) {
      const region = this.#memory.addRegion(at, piece, { pinned: true, shared: true });
      regions.push(region);
      at = region.end;
    }
    return regions;
  }

  /** The device lets go of the bytes before they go away. */
  #drop({ address, regions, mapping }: DmaRegion): void {
    this.#all.delete(address);
    for (const region of regions) this.#memory.removeRegion(region);
    mapping?.close();
  }
}
