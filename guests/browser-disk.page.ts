import { memoryStorage, type Storage } from 'virtio/devices/blk';
import { deleteBrowserDisk, openBrowserDisk } from 'virtio-v86/browser-disk';

/** What runs in the page, called by browser-disk.test.ts. */
const chunkSize = 4096;
const size = 64 * chunkSize;
const name = 'test';
let held: Storage | undefined;

const open = (): Promise<Storage> => openBrowserDisk(name, { size, chunkSize, cacheSize: 0 });

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : String(error);

/** Small, repeatable and good enough to mix operations. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

async function readAll(storage: Storage): Promise<Uint8Array> {
  const bytes = new Uint8Array(storage.size);
  await storage.read(0, bytes);
  return bytes;
}

const tests = {
  async randomOperations({ seed, steps }: { seed: number; steps: number }): Promise<string> {
    await deleteBrowserDisk(name);
    const random = randomNumbers(seed);
    const model = memoryStorage(size);
    let disk = await open();
    const pending: { offset: number; end: number; written: void | Promise<void> }[] = [];
    const settle = async (): Promise<void> => {
      await Promise.all(pending.splice(0).map(({ written }) => written));
    };
    for (let step = 0; step < steps; step++) {
      const offset = random(size / 512) * 512;
      const length = Math.min(size - offset, (1 + random(24)) * 512);
      const kind = random(10);
      if (kind < 5) {
        const bytes = new Uint8Array(length).fill(1 + random(255));
        // Writes that overlap in flight have no order, so they take turns; a read or flush may overtake none.
        if (pending.some((one) => offset < one.end && one.offset < offset + length)) await settle();
        pending.push({ offset, end: offset + length, written: disk.write(offset, bytes) });
        model.write(offset, bytes);
      } else if (kind < 7) {
        await settle();
        const target = new Uint8Array(length);
        await disk.read(offset, target);
        if (!target.every((byte, at) => byte === model.bytes[offset + at]))
          return `step ${step} read other bytes`;
      } else if (kind === 7) {
        await settle();
        await disk.writeZeroes?.(offset, length, true);
        model.writeZeroes?.(offset, length, true);
      } else if (kind === 8) {
        await settle();
        await disk.flush();
      } else if (random(8) === 0) {
        await settle();
        await disk.close?.();
        disk = await open();
      }
    }
    await settle();
    await disk.close?.();
    disk = await open();
    const all = await readAll(disk);
    await disk.close?.();
    return all.every((byte, at) => byte === model.bytes[at]) ? 'as in memory' : 'other bytes after reopening';
  },

  async writeAndFlush(): Promise<number> {
    await deleteBrowserDisk(name);
    const disk = await open();
    await disk.write(0, new Uint8Array(512).fill(1));
    await disk.write(chunkSize, new Uint8Array(chunkSize).fill(9));
    await disk.write(5 * chunkSize, new Uint8Array(chunkSize).fill(2));
    await disk.write(7 * chunkSize, new Uint8Array(chunkSize));
    await disk.flush();
    const stored = await storedChunks();
    await disk.writeZeroes?.(chunkSize, chunkSize, true);
    await disk.flush();
    if ((await storedChunks()) !== 2) throw new Error('zeroes take room');
    return stored;
  },

  async readBack(): Promise<number[]> {
    const disk = await open();
    const all = await readAll(disk);
    await disk.close?.();
    return [0, chunkSize, 5 * chunkSize].map((at) => all[at] ?? -1);
  },

  async hold(): Promise<unknown> {
    try {
      held = await open();
      return 'held';
    } catch (error) {
      return codeOf(error);
    }
  },

  async letGo(): Promise<string> {
    await held?.close?.();
    return 'let go';
  },

  remove: () => deleteBrowserDisk(name).then(() => 'removed', codeOf),

  openWithOtherSize: () => openBrowserDisk(name, { size: 2 * size }).then(() => 'opened', codeOf),

  badSizes: () =>
    Promise.all(
      [{ size: 0 }, { size: 513 }, { size: 512, chunkSize: 100 }].map((options) =>
        openBrowserDisk('bad', options).then(() => 'opened', codeOf),
      ),
    ),
};

/** Counted past the disk's own code. */
async function storedChunks(): Promise<number> {
  const database = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open(`virtio-disk:${name}`);
    request.onsuccess = () => resolve(request.result);
  });
  const count = await new Promise<number>((resolve) => {
    const request = database.transaction('chunks').objectStore('chunks').count();
    request.onsuccess = () => resolve(request.result);
  });
  database.close();
  return count;
}

Object.assign(globalThis, { tests });
