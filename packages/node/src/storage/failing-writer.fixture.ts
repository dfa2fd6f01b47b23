import { readFileSync } from 'node:fs';
import { blkDevice, openBlk } from 'virtio/devices/blk';
import { Loopback } from 'virtio/transports/loopback';
import { type FileStorageOptions, openFileStorage } from './file-storage.ts';
import { checkImage } from './qcow2/check.fixture.ts';
import { createQcow2 } from './qcow2/create.ts';
import { openQcow2, type Qcow2Storage } from './qcow2/open.ts';

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
const size = 4 * 2 ** 20;
const storage =
  how === 'qcow2' ? await openNewQcow2() : await openFileStorage(path, { create: true, size, ...ways[how] });
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
const sound = how !== 'qcow2' || checkImage(readFileSync(path)).lost === 0;
process.stdout.write(JSON.stringify({ sector, refused, reported, intact, sound }));

async function openNewQcow2(): Promise<Qcow2Storage> {
  await createQcow2(path, { size });
  return openQcow2(path);
}
