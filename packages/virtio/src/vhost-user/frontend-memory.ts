import type { SharedRange } from '../channel/shared-memory.ts';
import { HostError } from '../errors.ts';
import type { StructValueOf } from './frontend-requests.ts';
import type { FrontEndSession } from './frontend-session.ts';
import type { VhostUserMemoryRegion } from './payloads.ts';
import { limits } from './protocol.ts';

/**
 * What is added to a guest address for the front end's own address of it, by which the protocol names rings. It need not
 * be where the memory really is; that it is another than the guest's shows who takes one for the other.
 */
const userBase = 0x7000_0000_0000;

/** A guest address as the front end's own. */
export const userAddress = (address: number): bigint => BigInt(address + userBase);

const regionOf = (range: SharedRange): StructValueOf<typeof VhostUserMemoryRegion> => ({
  guest_phys_addr: BigInt(range.address),
  memory_size: BigInt(range.size),
  userspace_addr: userAddress(range.address),
  mmap_offset: 0n,
});

/** Sessions that have ranges one by one, and how many: these are not told twice. */
const added = new WeakMap<FrontEndSession, number>();

/**
 * Gives a back end all of guest memory: in one table where it fits into one, else range by range.
 *
 * @throws {HostError} NO_SPACE when the back end takes fewer ranges than there are.
 */
export async function shareMemory(session: FrontEndSession, ranges: readonly SharedRange[]): Promise<void> {
  const { requests, memorySlots } = session;
  if (ranges.length <= limits.memoryRegions) {
    const table = { nregions: ranges.length, padding: 0, regions: ranges.map(regionOf) };
    const descriptors = ranges.map(({ descriptor }) => descriptor);
    await requests.tell('SET_MEM_TABLE', table, descriptors);
  } else if (memorySlots === undefined || memorySlots < ranges.length) {
    const most = memorySlots ?? limits.memoryRegions;
    throw new HostError('NO_SPACE', `the back end takes ${most} ranges of memory, not ${ranges.length}`);
  } else {
    for (const range of ranges.slice(added.get(session) ?? 0)) {
      await requests.tell('ADD_MEM_REG', { region: regionOf(range) }, [range.descriptor]);
      added.set(session, (added.get(session) ?? 0) + 1);
    }
  }
  await session.settle();
}
