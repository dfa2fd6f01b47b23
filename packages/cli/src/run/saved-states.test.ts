import { mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SavedStates } from './saved-states.ts';

const key = { format: 1, guest: 'g', disks: ['rw 65536'] };
const state = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);

let folder: string;
let states: SavedStates;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-states-'));
  states = new SavedStates(join(folder, 'states'));
});

afterEach(() => rm(folder, { recursive: true }));

async function onlyFile(): Promise<string> {
  const [name, ...others] = await readdir(join(folder, 'states'));
  expect(others).toEqual([]);
  return join(folder, 'states', name ?? '');
}

it('gives back what was saved', async () => {
  await states.save(key, state);
  expect(await states.load(key)).toEqual(Buffer.from(state));
});

it('finds nothing where nothing was saved, and makes no folder for that', async () => {
  expect(await states.load(key)).toBeUndefined();
  expect(await readdir(folder)).toEqual([]);
});

it('finds nothing for a key that differs in anything', async () => {
  await states.save(key, state);
  for (const other of [
    { ...key, format: 2 },
    { ...key, guest: 'h' },
    { ...key, disks: ['ro 65536'] },
  ]) {
    expect(await states.load(other)).toBeUndefined();
  }
});

it('drops a state with one changed bit, wherever it is', async () => {
  for (const position of [0, 31, 32, 36, 40, 100, 60_000, -1]) {
    await states.save(key, state);
    const path = await onlyFile();
    const bytes = await readFile(path);
    const at = position < 0 ? bytes.length + position : position;
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    await writeFile(path, bytes);
    expect(await states.load(key), `bit at ${position}`).toBeUndefined();
    expect(await readdir(join(folder, 'states'))).toEqual([]);
  }
});

it('drops a state that is cut short or empty', async () => {
  for (const length of [50_000, 40, 35, 0]) {
    await states.save(key, state);
    await truncate(await onlyFile(), length);
    expect(await states.load(key)).toBeUndefined();
    expect(await readdir(join(folder, 'states'))).toEqual([]);
  }
});

it('keeps the four states used last', async () => {
  for (let guest = 0; guest < 6; guest++) {
    await states.save({ ...key, guest: `${guest}` }, state);
    // The first is used all the time; the others grow old in the order in which they were saved.
    for (const name of await readdir(join(folder, 'states'))) {
      await utimes(join(folder, 'states', name), 1_000 + guest, 1_000 + guest);
    }
    expect(await states.load({ ...key, guest: '0' })).toBeDefined();
  }
  expect(await readdir(join(folder, 'states'))).toHaveLength(4);
  expect(await states.load({ ...key, guest: '5' })).toBeDefined();
});

it('removes what an interrupted save left, once it is old', async () => {
  await states.save(key, state);
  const leftover = join(folder, 'states', '.abc');
  await writeFile(leftover, 'half');
  await states.save(key, state);
  expect(await readdir(join(folder, 'states'))).toHaveLength(2);
  await utimes(leftover, 1000, 1000);
  await states.save(key, state);
  await onlyFile();
});
