import { PeerError, UsageError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import type { OpenNet } from './driver.ts';
import {
  coalescingCommand,
  controlClass,
  virtio_net_ctrl_coal,
  virtio_net_ctrl_coal_vq,
} from './spec-control.ts';

/** When the device notifies of packets: after so many, or so much time. 0 of either for each packet. */
export interface CoalescingSettings {
  readonly packets: number;
  readonly microseconds: number;
}

/** A queue of frames, from 0. */
export interface FrameQueue {
  readonly kind: 'receive' | 'transmit';
  readonly number: number;
}

const mostOf32 = 0xffff_ffff;

/**
 * Says when the device notifies of packets in all receive, or all transmit queues.
 *
 * @throws {UsageError} BAD_ARGUMENT for numbers that 32 bits do not hold.
 * @spec 5.1.9.5.10.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
 */
export async function setCoalescing(
  net: OpenNet,
  kind: FrameQueue['kind'],
  settings: CoalescingSettings,
): Promise<void> {
  const command = kind === 'receive' ? coalescingCommand.RX_SET : coalescingCommand.TX_SET;
  const data = virtio_net_ctrl_coal.encode(fieldsOf(settings));
  await net.command(['NOTF_COAL'], controlClass.NOTF_COAL, command, data);
}

/**
 * The same for one queue.
 *
 * @throws {UsageError} BAD_ARGUMENT for a queue that the driver does not have, or numbers that 32 bits do not hold.
 * @spec 5.1.9.5.10.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Notifications Coalescing
 */
export async function setQueueCoalescing(
  net: OpenNet,
  queue: FrameQueue,
  settings: CoalescingSettings,
): Promise<void> {
  const coal = fieldsOf(settings);
  const data = virtio_net_ctrl_coal_vq.encode({ vq_index: indexOf(net, queue), coal });
  await net.command(['VQ_NOTF_COAL'], controlClass.NOTF_COAL, coalescingCommand.VQ_SET, data);
}

/**
 * What is in force for one queue.
 *
 * @throws {UsageError} BAD_ARGUMENT for a queue that the driver does not have.
 * @throws {PeerError} BAD_RESPONSE for an answer that is cut short.
 */
export async function queueCoalescing(net: OpenNet, queue: FrameQueue): Promise<CoalescingSettings> {
  const { size } = virtio_net_ctrl_coal;
  const data = virtio_net_ctrl_coal_vq.encode({ vq_index: indexOf(net, queue) }).subarray(0, 4);
  const answer = await net.command(
    ['VQ_NOTF_COAL'],
    controlClass.NOTF_COAL,
    coalescingCommand.VQ_GET,
    data,
    size,
  );
  if (answer.length < size) {
    throw new PeerError('BAD_RESPONSE', 'the network device does not tell how it holds notifications back');
  }
  const view = dataView(answer);
  const { max_packets, max_usecs } = virtio_net_ctrl_coal.read(view);
  return { packets: max_packets, microseconds: max_usecs };
}

function indexOf(net: OpenNet, { kind, number }: FrameQueue): number {
  if (Number.isInteger(number) && number >= 0 && number < net.queuePairs) {
    return 2 * number + (kind === 'transmit' ? 1 : 0);
  }
  throw new UsageError(
    'BAD_ARGUMENT',
    `net: the driver has ${net.queuePairs} pairs of queues; ${number} is none`,
  );
}

function fieldsOf({ packets, microseconds }: CoalescingSettings): {
  readonly max_packets: number;
  readonly max_usecs: number;
} {
  for (const value of [packets, microseconds]) {
    if (!Number.isInteger(value) || value < 0 || value > mostOf32) {
      throw new UsageError('BAD_ARGUMENT', `net: ${value} does not fit in 32 bits`);
    }
  }
  return { max_packets: packets, max_usecs: microseconds };
}
