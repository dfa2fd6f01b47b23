import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createQcow2, imageFormat, openStorage } from './index.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-storage-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const size = 2 ** 20;

it('goes by the name of a file, unless it is told', async () => {
  expect(imageFormat('a.img')).toBe('raw');
  expect(imageFormat('a.qcow2')).toBe('qcow2');
  expect(imageFormat('a.QCOW2')).toBe('qcow2');
  expect(imageFormat('a.qcow2', 'raw')).toBe('raw');
  expect(imageFormat('qcow2')).toBe('raw');
  const path = join(folder, 'disk.qcow2');
  await createQcow2(path, { size });
  const image = await openStorage(path);
  expect(image).toMatchObject({ size, readOnly: false });
  await image.close();
  const raw = await openStorage(path, { format: 'raw', readOnly: true });
  expect(raw.size).toBe(readFileSync(path).length);
  await raw.close();
});

it('never takes a raw disk for an image because of what its guest wrote', async () => {
  const path = join(folder, 'disk.img');
  const made = join(folder, 'made.qcow2');
  const secret = join(folder, 'secret');
  writeFileSync(secret, new Uint8Array(size).fill(0x5e));
  await createQcow2(made, { backing: { path: secret, format: 'raw' } });
  writeFileSync(path, new Uint8Array(size));
  const disk = await openStorage(path);
  await disk.write(0, readFileSync(made).subarray(0, 65_536));
  await disk.close();
  await expect(openStorage(path)).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: expect.stringContaining('format=raw'),
  });
  const again = await openStorage(path, { format: 'raw' });
  const bytes = new Uint8Array(size);
  await again.read(0, bytes);
  expect(bytes.includes(0x5e)).toBe(false);
  await again.close();
});

it('says of an image under another name what to do, and refuses what a format has not', async () => {
  const path = join(folder, 'disk.qcow2');
  await createQcow2(path, { size });
  await expect(openStorage(path, { direct: true })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  renameSync(path, join(folder, 'disk'));
  await expect(openStorage(join(folder, 'disk'))).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: expect.stringContaining('format=qcow2'),
  });
  const image = await openStorage(join(folder, 'disk'), { format: 'qcow2' });
  expect(image.size).toBe(size);
  await image.close();
  writeFileSync(path, new Uint8Array(size));
  await expect(openStorage(path)).rejects.toMatchObject({ code: 'BAD_IMAGE' });
});
