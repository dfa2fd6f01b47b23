import { invalidField } from '../../../device/admin/refusal.ts';
import type { GuestMemory } from '../../../memory/guest-memory.ts';
import { FeatureSet, reservedFeatures } from '../../../spec/features.ts';
import type { DeviceQueueState } from '../../../virtqueue/queue.ts';
import type { PciFunctionState } from '../options.ts';
import { isLive } from './device-kinds.ts';
import { withCore } from './part-kind.ts';

/**
 * The state with a position for every queue that is in use, and none for the others. Parts of another
 * implementation need not tell it: then a split ring's is read off its used ring, since a stopped device has
 * used all that it saw. A packed ring's cannot be found so.
 *
 * @throws {AdminRefusal} EINVAL
 */
export function withRings(state: PciFunctionState, memory: GuestMemory): PciFunctionState {
  const live = isLive(state.core.status);
  const packed = FeatureSet.fromWords(state.core.driverFeatures).has(reservedFeatures.RING_PACKED);
  const queues = state.core.queues.map((queue, index) => {
    if (!live || !queue.enabled) return { ...queue, ring: null };
    if (queue.ring !== null) return queue;
    if (packed) throw invalidField(`nothing tells where the device stands in packed queue ${index}`);
    return { ...queue, ring: splitPosition(memory, queue.device) };
  });
  return withCore(state, { queues });
}

function splitPosition(memory: GuestMemory, usedRing: number): DeviceQueueState {
  if (!memory.contains(usedRing, 4)) throw invalidField(`no used ring is at ${usedRing}`);
  const used = new DataView(memory.read(usedRing + 2, 2).buffer).getUint16(0, true);
  return { nextAvailable: used, nextUsed: used, availableWrap: 1, usedWrap: 1, inFlight: [] };
}
