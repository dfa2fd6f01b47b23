import { Allocator } from '../memory/allocator.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { PvirtqDesc } from './packed/layout.ts';
import type { DeviceQueue, QueueAreas, RingOptions } from './queue.ts';
import { openDevice, placeAreas, plain } from './ring.fixture.ts';
import { VirtqDesc } from './split/layout.ts';

/** Where the memory of these rings starts and ends, and where nothing of the ring lies. */
export const memoryStart = 0x1000;
export const memoryEnd = 0x1_1000;
export const dataStart = 0x8000;

abstract class RawRing {
  readonly memory: GuestMemory;
  readonly view: DataView;
  readonly areas: QueueAreas;
  readonly options: RingOptions;

  constructor(size: number, options: Partial<RingOptions>, packed: boolean) {
    this.memory = GuestMemory.ofSize(memoryEnd - memoryStart, memoryStart);
    const region = this.memory.regions[0]!;
    this.view = region.view;
    this.options = { ...plain, ...options, packed };
    this.areas = placeAreas(new Allocator(memoryStart, memoryEnd - memoryStart), size, packed);
  }

  openDevice(): DeviceQueue {
    return openDevice(this.memory, this.areas, this.options);
  }

  get16(address: number): number {
    return this.view.getUint16(address - memoryStart, this.options.endian === 'little');
  }

  get32(address: number): number {
    return this.view.getUint32(address - memoryStart, this.options.endian === 'little');
  }

  set16(address: number, value: number): void {
    this.view.setUint16(address - memoryStart, value, this.options.endian === 'little');
  }

  set32(address: number, value: number): void {
    this.view.setUint32(address - memoryStart, value, this.options.endian === 'little');
  }
}

/** A split ring that a test writes byte for byte, as no honest side would. */
export class RawSplitRing extends RawRing {
  constructor(size: number, options: Partial<RingOptions> = {}) {
    super(size, options, false);
  }

  /** Writes descriptor `index` of the table at `table`; of the queue's own unless told. */
  descriptor(
    index: number,
    fields: { addr?: number; len?: number; flags?: number; next?: number },
    table: number = this.areas.descriptor,
  ): void {
    const { addr = dataStart, len = 16, flags = 0, next = 0 } = fields;
    VirtqDesc.write(this.view, table - memoryStart + 16 * index, { addr: BigInt(addr), len, flags, next });
  }

  /** Makes heads available, after those that are. */
  offer(...heads: number[]): void {
    let index = this.get16(this.areas.driver + 2);
    for (const head of heads) {
      this.set16(this.areas.driver + 4 + 2 * (index % this.areas.size), head);
      index = (index + 1) & 0xffff;
    }
    this.set16(this.areas.driver + 2, index);
  }

  /** Writes used entries, after those that are. */
  use(...entries: { id: number; len?: number }[]): void {
    let index = this.get16(this.areas.device + 2);
    for (const { id, len = 0 } of entries) {
      this.used(index, { id, len });
      index = (index + 1) & 0xffff;
    }
    this.set16(this.areas.device + 2, index);
  }

  used(index: number, { id, len }: { id: number; len: number }): void {
    const at = this.areas.device + 4 + 8 * (index % this.areas.size);
    this.set32(at, id);
    this.set32(at + 4, len);
  }

  usedEntry(index: number): { id: number; len: number } {
    const at = this.areas.device + 4 + 8 * (index % this.areas.size);
    return { id: this.get32(at), len: this.get32(at + 4) };
  }
}

/** A packed ring that a test writes byte for byte, as no honest side would. */
export class RawPackedRing extends RawRing {
  constructor(size: number, options: Partial<RingOptions> = {}) {
    super(size, options, true);
  }

  /** Writes descriptor `index` of the table at `table`; of the queue's own unless told. */
  descriptor(
    index: number,
    fields: { addr?: number; len?: number; flags?: number; id?: number },
    table: number = this.areas.descriptor,
  ): void {
    const { addr = dataStart, len = 16, flags = 0, id = 0 } = fields;
    PvirtqDesc.write(this.view, table - memoryStart + 16 * index, { addr: BigInt(addr), len, flags, id });
  }

  read(index: number): { len: number; flags: number; id: number } {
    const { len, flags, id } = PvirtqDesc.read(this.view, this.areas.descriptor - memoryStart + 16 * index);
    return { len, flags, id };
  }
}
