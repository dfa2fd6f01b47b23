import { readFile, writeFile } from 'node:fs/promises';
import { GuestMemory } from 'virtio/memory';
import { expect, test } from 'vitest';
import { SharedMemory } from './shared-memory.ts';

test('what one side writes the other reads, at the address that was chosen', async () => {
  const shared = await SharedMemory.create(8192);
  try {
    const memory = new GuestMemory();
    const [region] = shared.addTo(memory, 0x4000_0000);
    expect(region).toMatchObject({ start: 0x4000_0000, length: 8192, shared: true, pinned: true });
    memory.write(0x4000_1000, Uint8Array.of(1, 2, 3));
    expect((await readFile(shared.path)).subarray(4096, 4100)).toEqual(Buffer.from([1, 2, 3, 0]));
    await writeFile(shared.path, Uint8Array.of(9), { flag: 'r+' });
    expect(memory.read(0x4000_0000, 1)).toEqual(Uint8Array.of(9));
    await shared.close();
    expect(memory.read(0x4000_0000, 1)).toEqual(Uint8Array.of(9));
  } finally {
    await shared.close();
  }
});

test('memory that is no number of pages is refused', async () => {
  await expect(SharedMemory.create(5000)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
});
