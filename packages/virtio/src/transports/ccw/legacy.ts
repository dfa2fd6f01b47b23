import type { DeviceCore } from '../../device/core.ts';
import { type LegacyInterface, legacyInterface } from '../../device/legacy.ts';
import type { LegacyTransport } from '../../driver/transport.ts';
import { isPowerOfTwo } from '../../spec/power-of-two.ts';
import { legacyLayout } from '../../virtqueue/legacy.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import { isSplitRingSize } from '../../virtqueue/split/layout.ts';
import type { ChannelData } from './channel-data.ts';
import type { CommandEnd } from './channel-program.ts';
import { exactAddress } from './guest-access.ts';
import { vq_info_block_legacy } from './legacy-structures.ts';
import { letQueueGo } from './let-queue-go.ts';

/** What a control unit needs to serve drivers at revision 0. */
export interface CcwLegacyDevice {
  readonly rules: LegacyInterface;
  /** SET_VQ as it is at revision 0. */
  setQueue(core: DeviceCore, data: ChannelData): CommandEnd;
}

/** What a driver needs to drive a device at revision 0. */
export interface CcwLegacyDriver {
  readonly transport: LegacyTransport;
  /** What SET_VQ carries at revision 0. */
  queueBlock(index: number, areas: QueueAreas): Uint8Array;
}

/** Revision 0 on the device's side: big-endian, without what came with virtio 1.0. */
export function legacyCcwDevice(): CcwLegacyDevice {
  return { rules: legacyInterface('big'), setQueue };
}

/** Revision 0 on the driver's side. */
export function legacyCcwDriver(): CcwLegacyDriver {
  return {
    // The size goes with SET_VQ, but devices are known that keep their own.
    transport: { endian: 'big', queueAlign, sizeIsFixed: true },
    queueBlock: (index, { descriptor, size }) =>
      vq_info_block_legacy.encode({ queue: BigInt(descriptor), align: queueAlign, index, size }),
  };
}

/** Bytes; the one that every device takes. */
const queueAlign = 4096;

function setQueue(core: DeviceCore, data: ChannelData): CommandEnd {
  const view = data.read(0, vq_info_block_legacy.size);
  if (view === undefined) return 'short';
  const { queue: start, align, index, size } = vq_info_block_legacy.read(view);
  const queue = core.queue(index);
  const address = exactAddress(start);
  if (queue === undefined || queue.maxSize === 0) {
    core.violation('QUEUE_SIZE_INVALID', `the driver set up queue ${index}, which does not exist`);
    return 'reject';
  }
  if (address === 0) {
    letQueueGo(core, index, queue);
    return 'done';
  }
  if (core.live && queue.enabled) {
    core.violation('STATUS_SEQUENCE', `the driver set up queue ${index} anew while it runs`);
    return 'reject';
  }
  if (address === undefined || !isSplitRingSize(size) || size > queue.maxSize || !isAlignment(align)) {
    core.violation('QUEUE_SIZE_INVALID', `queue ${index} cannot have size ${size}, alignment ${align}`);
    return 'reject';
  }
  const { areas, length } = legacyLayout(address, size, align);
  if (!core.memory.contains(address, length, 'write')) {
    core.violation('ADDRESS_OUT_OF_BOUNDS', `queue ${index} is not all in memory`);
    return 'reject';
  }
  if (address % align !== 0) {
    core.violation('QUEUE_MISALIGNED', `queue ${index} begins at no multiple of ${align}`);
    return 'reject';
  }
  Object.assign(queue, areas);
  core.enableQueue(index);
  return 'done';
}

/** Powers of two from 4 on, as far as 32 bits go. */
const isAlignment = (align: number): boolean => align >= 4 && isPowerOfTwo(align);
