import { blkDevice, openBlk } from 'virtio/devices/blk';
import { Loopback } from 'virtio/transports/loopback';
import { openFileStorage } from './file-storage.ts';

/**
 * Writes sector after sector through a driver and a device until it is killed, and says the number of each
 * once it is flushed.
 */
const storage = await openFileStorage(process.argv[2] ?? '');
const disk = await openBlk(new Loopback(blkDevice({ storage })));
for (let round = 1; ; round++) {
  await disk.write(round % disk.capacity, new Uint8Array(512).fill(round & 0xff));
  await disk.flush();
  process.stdout.write(`${round}\n`);
}
