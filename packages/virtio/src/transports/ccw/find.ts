import { PeerError, UsageError } from '../../errors.ts';
import type { ChannelIo } from './channel-io.ts';
import { DriverChannel } from './driver-channel.ts';
import { readVirtioDeviceId } from './negotiate-revision.ts';
import { pmcwFlag, schib, schidOf } from './schib.ts';

/** A virtio device as it is found on a subchannel. */
export interface FoundCcwDevice {
  readonly schid: number;
  /** The device number. */
  readonly devno: number;
  /** The virtio device id (chapter 5). */
  readonly deviceId: number;
}

const nobody = { interrupted: () => {}, adapter: () => {}, lost: () => {} };

/**
 * Looks at every subchannel until there are no more, and asks each device what it is. Each is enabled for that, and
 * disabled again: a device that is in use would be lost.
 *
 * @throws {HostError} DEVICE_GONE when the machine goes away meanwhile.
 */
export async function findCcwDevices(io: ChannelIo): Promise<FoundCcwDevice[]> {
  const found: FoundCcwDevice[] = [];
  for (const { schid, devno } of await subchannels(io)) {
    const channel = await DriverChannel.open(io, schid, 0, nobody);
    try {
      found.push({ schid, devno, deviceId: await readVirtioDeviceId(channel, schid) });
    } catch (error) {
      // Something else is there, which may not even say what.
      if (!(error instanceof UsageError || error instanceof PeerError)) throw error;
    } finally {
      await channel.close();
    }
  }
  return found;
}

/** All subchannels that have a device. */
async function subchannels(io: ChannelIo): Promise<{ schid: number; devno: number }[]> {
  const at = io.allocator.allocate(schib.size, 8);
  const all: { schid: number; devno: number }[] = [];
  try {
    for (let number = 0; number <= 0xffff; number++) {
      const schid = schidOf(number);
      if ((await io.storeSubchannel(schid, at)) !== 0) break;
      const { pmcw } = schib.read(new DataView(io.memory.read(at, schib.size).buffer));
      if ((pmcw.flags & pmcwFlag.DEVICE_NUMBER_VALID) !== 0) all.push({ schid, devno: pmcw.devno });
    }
  } finally {
    io.allocator.free(at);
  }
  return all;
}
