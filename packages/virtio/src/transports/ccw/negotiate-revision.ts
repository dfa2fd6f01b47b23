import { PeerError, UsageError } from '../../errors.ts';
import { type Revision, virtioControlUnitType } from './commands.ts';
import type { DriverChannel } from './driver-channel.ts';
import { senseid } from './status.ts';
import { virtio_rev_info } from './structures.ts';

/**
 * The virtio device id of what is on a subchannel: its control unit model. Device type and model are not looked at.
 *
 * @throws {UsageError} BAD_ARGUMENT when it is no virtio device.
 * @spec 4.3.1.4 driver: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
 */
export async function readVirtioDeviceId(channel: DriverChannel, schid: number): Promise<number> {
  // A device may give all 256 bytes, or those alone that are not zeroes.
  const answer = await channel.issue('SENSE_ID', { length: idLength, suppressLength: true });
  const whole = new Uint8Array(senseid.size);
  whole.set(answer);
  const { cu_type, cu_model } = senseid.read(new DataView(whole.buffer));
  if (answer.length < 4 || cu_type !== virtioControlUnitType) {
    const found = `a control unit of type 0x${cu_type.toString(16)}`;
    throw new UsageError('BAD_ARGUMENT', `subchannel 0x${schid.toString(16)} has ${found}, no virtio device`);
  }
  return cu_model;
}

/** Bytes of SENSE ID data without the extended ones. */
const idLength = 7;

/**
 * Agrees upon a revision, from the highest downwards while the device rejects it. A device that knows no revisions is a
 * legacy one.
 *
 * @throws {PeerError} REVISION_REFUSED when there is none that both know.
 * @spec 4.3.2.1.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
 */
export async function negotiateRevision(
  channel: DriverChannel,
  highest: Revision,
  transitional: boolean,
): Promise<Revision> {
  const revisions: readonly Revision[] = [2, 1, 0];
  for (const revision of revisions) {
    if (revision > highest || (revision === 0 && !transitional)) continue;
    const data = virtio_rev_info.encode({ revision, length: 0 });
    if ((await channel.tryIssue('SET_VIRTIO_REV', { data })) === undefined) continue;
    channel.revision = data;
    return revision;
  }
  if (transitional) return 0;
  throw new PeerError(
    'REVISION_REFUSED',
    `the ccw device takes no revision from ${highest} down to 1: it is a legacy device, or was driven already`,
  );
}
