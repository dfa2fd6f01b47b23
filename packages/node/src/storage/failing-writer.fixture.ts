import { blkDevice, openBlk } from 'virtio/devices/blk';
import { Loopback } from 'virtio/transports/loopback';
import { type FileStorageOptions, openFileStorage } from './file-storage.ts';

/**
 * Makes a disk where there is less room than it has sectors, fills it through a driver and a device until a write
 * fails, reads what was written before, and says as JSON how all that went.
 */
const [path = '', how = ''] = process.argv.slice(2);
const ways: Readonly<Record<string, FileStorageOptions>> = {
  threads: { io: 'threads' },
  io_uring: { io: 'io_uring' },
  direct: { direct: true },
};
const storage = await openFileStorage(path, { create: true, size: 4 * 2 ** 20, ...ways[how] });
const reported: string[] = [];
const device = blkDevice({ storage, onError: (error) => reported.push(error.code) });
const disk = await openBlk(new Loopback(device));
const written = new Uint8Array(65_536).fill(7);
let sector = 0;
let refused = '';
while (refused === '' && sector < disk.capacity) {
  try {
    await disk.write(sector, written);
    sector += 128;
  } catch (error) {
    refused = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}
const intact = sector === 0 || (await disk.read(sector - 128, 128)).every((byte) => byte === 7);
await disk.close();
await storage.close();
process.stdout.write(JSON.stringify({ sector, refused, reported, intact }));
