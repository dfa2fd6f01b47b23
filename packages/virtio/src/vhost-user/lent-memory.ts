import type { Descriptor, DescriptorHost, MappedMemory } from '../channel/descriptors.ts';
import { HostError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import type { Region } from '../memory/region.ts';
import type { StructValue } from '../spec/layout.ts';
import { bad } from './message-stream.ts';
import type { VhostUserMemoryRegion } from './payloads.ts';

/** A region as a message describes it. */
export type RegionDescription = StructValue<(typeof VhostUserMemoryRegion)['codecs']>;

/** Regions that a front end may lend at a time. QEMU has as many slots for memory at most. */
export const mostSlots = 509;

/** Bytes that are mapped of a guest at most: each 4 GiB of them stop the engine for some milliseconds. */
const mostBytes = 2 ** 40;

const addressLimit = 2n ** 53n;

/** A region of guest memory that the front end has lent. */
interface Slot {
  /** Guest address. */
  readonly start: number;
  /** Bytes. */
  readonly length: number;
  /** Where the front end has it. */
  readonly user: bigint;
}

interface MappedSlot extends Slot {
  /** None where the device itself has lent the memory: see the constructor. */
  readonly mapping: MappedMemory | undefined;
  readonly regions: readonly Region[];
}

/** The guest memory that a front end has lent, by both of its addresses: the guest's and the front end's own. */
export class LentMemory {
  readonly memory: GuestMemory = new GuestMemory();
  readonly #host: DescriptorHost;
  readonly #isOurs: (descriptor: Descriptor) => boolean;
  #slots: MappedSlot[] = [];

  /**
   * `isOurs` tells memory that the device shows in a window of its own, and which a front end lends back, since to a guest
   * it is memory like any other. It is not mapped: its guest could cut it off beneath us.
   */
  constructor(host: DescriptorHost, isOurs: (descriptor: Descriptor) => boolean = () => false) {
    this.#host = host;
    this.#isOurs = isOurs;
  }

  /**
   * Puts other regions in place of all. On a mistake those that are there stay.
   *
   * @throws {PeerError} BAD_MESSAGE for regions that cannot be.
   * @throws {HostError} when one cannot be mapped; NO_SPACE for more than 1 TiB of them.
   */
  replace(regions: readonly { readonly of: RegionDescription; readonly descriptor: Descriptor }[]): void {
    const slots: Slot[] = [];
    for (const { of } of regions) slots.push(soundSlot(of, slots));
    const mapped: (MappedMemory | undefined)[] = [];
    try {
      for (const { of, descriptor } of regions) mapped.push(this.#map(of, descriptor));
    } catch (error) {
      for (const mapping of mapped) mapping?.close();
      throw error;
    }
    this.close();
    for (const [i, slot] of slots.entries()) this.#place(slot, mapped[i]);
  }

  /**
   * Adds a region.
   *
   * @throws {PeerError} BAD_MESSAGE for one that cannot be, or one too many.
   * @throws {HostError} when it cannot be mapped; NO_SPACE when there are more than 1 TiB with it.
   */
  add(of: RegionDescription, descriptor: Descriptor): void {
    if (this.#slots.length >= mostSlots) throw bad(`there are more than ${mostSlots} memory regions`);
    const slot = soundSlot(of, this.#slots);
    this.#place(slot, this.#map(of, descriptor));
  }

  /** True for a region that can be taken away whatever is in flight: nothing of it is mapped. */
  isUnmapped(of: RegionDescription): boolean {
    const slot = this.#find(of);
    return slot !== undefined && slot.mapping === undefined;
  }

  /**
   * Takes a region away. Nothing may be in flight that lies in it.
   *
   * @throws {PeerError} BAD_MESSAGE when there is none of these addresses and this size.
   */
  remove(of: RegionDescription): void {
    const slot = this.#find(of);
    if (slot === undefined) throw bad('a memory region is to be removed that is not there');
    this.#slots = this.#slots.filter((other) => other !== slot);
    this.#unmap(slot);
  }

  /** The guest address of a front end's address; `undefined` when it is in no region. */
  guestAddress(user: bigint): number | undefined {
    for (const slot of this.#slots) {
      const offset = user - slot.user;
      if (offset >= 0n && offset < BigInt(slot.length)) return slot.start + Number(offset);
    }
    return undefined;
  }

  /** Gives all of it back. */
  close(): void {
    for (const slot of this.#slots.splice(0)) this.#unmap(slot);
  }

  #find(of: RegionDescription): MappedSlot | undefined {
    return this.#slots.find(
      ({ start, length, user }) =>
        BigInt(start) === of.guest_phys_addr &&
        BigInt(length) === of.memory_size &&
        user === of.userspace_addr,
    );
  }

  #map(of: RegionDescription, descriptor: Descriptor): MappedMemory | undefined {
    if (this.#isOurs(descriptor)) return undefined;
    return this.#host.map(descriptor, Number(of.mmap_offset), Number(of.memory_size));
  }

  #place(slot: Slot, mapping: MappedMemory | undefined): void {
    const regions: Region[] = [];
    let at = slot.start;
    for (const piece of mapping?.pieces ?? []) {
      const region = this.memory.addRegion(at, piece, { shared: true });
      regions.push(region);
      at += region.length;
    }
    this.#slots.push({ ...slot, mapping, regions });
  }

  #unmap({ mapping, regions }: MappedSlot): void {
    for (const region of regions) this.memory.removeRegion(region);
    mapping?.close();
  }
}

/** What the numbers of a description say, where they can be true beside the slots that are there. */
function soundSlot(of: RegionDescription, others: readonly Slot[]): Slot {
  const { guest_phys_addr, memory_size, userspace_addr, mmap_offset } = of;
  const at = `a memory region at guest address 0x${guest_phys_addr.toString(16)}`;
  if (memory_size === 0n || guest_phys_addr + memory_size > addressLimit) {
    throw bad(`${at} has ${memory_size} bytes`);
  }
  if (mmap_offset + memory_size > addressLimit)
    throw bad(`${at} begins ${mmap_offset} bytes into its memory`);
  if (guest_phys_addr % 4n !== 0n || mmap_offset % 4n !== 0n) throw bad(`${at} is not aligned to 4 bytes`);
  if (userspace_addr + memory_size > 2n ** 64n) throw bad(`${at} wraps around in the front end`);
  const [start, length] = [Number(guest_phys_addr), Number(memory_size)];
  let sum = length;
  for (const other of others) {
    sum += other.length;
    if (start < other.start + other.length && other.start < start + length) {
      throw bad(`${at} overlaps another one`);
    }
    if (userspace_addr < other.user + BigInt(other.length) && other.user < userspace_addr + memory_size) {
      throw bad(`${at} overlaps another one in the front end`);
    }
  }
  if (sum > mostBytes) throw new HostError('NO_SPACE', `${sum} bytes of guest memory are more than 1 TiB`);
  return { start, length, user: userspace_addr };
}
