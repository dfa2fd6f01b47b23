import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { FileLock, Interruption } from 'virtio/devices/fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TemporaryFolder, walk } from './folder.fixture.ts';
import { type FolderTree, shareFolder } from './index.ts';

let folder: TemporaryFolder;
let trees: [FolderTree, FolderTree];

beforeEach(() => {
  folder = new TemporaryFolder();
  writeFileSync(folder.at('file'), 'some bytes');
  trees = [shareFolder(folder.path, { locks: true }), shareFolder(folder.path, { locks: true })];
});
afterEach(() => {
  for (const tree of trees) tree.close();
  folder.remove();
});

const waiting = (): Interruption => ({ interrupted: false, onInterrupt: undefined });
const busy = expect.objectContaining({ code: 'EAGAIN' });

/** What one owner of one guest does to the file. */
class Process {
  readonly #tree: FolderTree;
  readonly #owner: object;
  readonly #file: ReturnType<FolderTree['open']>;

  constructor(tree: FolderTree, owner: object) {
    this.#tree = tree;
    this.#owner = owner;
    this.#file = tree.open(walk(tree, 'file'), 2);
  }

  lock(part: Partial<FileLock>): void {
    expect(this.#tree.setLock?.(this.#file, this.#lock(part), undefined)).toBeUndefined();
  }

  async wait(part: Partial<FileLock>, wait: Interruption): Promise<void> {
    await this.#tree.setLock?.(this.#file, this.#lock(part), wait);
  }

  find(part: Partial<FileLock>): unknown {
    return this.#tree.findLock?.(this.#file, this.#lock(part));
  }

  #lock(part: Partial<FileLock>): FileLock {
    const whole = { type: 'write', start: 0, end: Infinity, pid: 1, whole: false } as const;
    return { ...whole, owner: this.#owner, ...part };
  }
}

it('hold between processes of one guest and of two, by ranges', () => {
  const [a, b] = [new Process(trees[0], {}), new Process(trees[0], {})];
  const c = new Process(trees[1], {});
  a.lock({ start: 10, end: 19 });
  b.lock({ start: 20, end: 29 });
  for (const other of [b, c]) {
    expect(() => other.lock({ type: 'read', start: 15, end: 15 })).toThrow(busy);
    expect(other.find({ start: 0, end: 12 })).toMatchObject({ type: 'write', start: 10, end: 19 });
  }
  c.lock({ start: 30 });
  expect(a.find({ start: 100 })).toMatchObject({ type: 'write', start: 30, end: Infinity });
  a.lock({ type: 'unlock', start: 10, end: 14 });
  c.lock({ type: 'read', start: 10, end: 14 });
  b.lock({ type: 'read', start: 10, end: 14 });
  expect(() => a.lock({ start: 10, end: 14 })).toThrow(busy);
  expect(a.find({ start: 0, end: 9 })).toBeUndefined();
});

it('are waited for, in the same process and across guests, and given up', async () => {
  const [a, b] = [new Process(trees[0], {}), new Process(trees[0], {})];
  const c = new Process(trees[1], {});
  for (const whole of [false, true]) {
    a.lock({ whole });
    const order: string[] = [];
    const near = b.wait({ whole }, waiting()).then(() => void order.push('near'));
    const given = waiting();
    const abandoned = c.wait({ whole }, given);
    given.onInterrupt?.();
    await expect(abandoned).rejects.toMatchObject({ code: 'EINTR' });
    expect(order).toEqual([]);
    a.lock({ type: 'unlock', whole });
    await near;
    const far = c.wait({ whole }, waiting());
    b.lock({ type: 'unlock', whole });
    await far;
    expect(() => a.lock({ whole })).toThrow(busy);
    c.lock({ type: 'unlock', whole });
  }
});

it('hold against programs of the host', async () => {
  const child = spawn('flock', [folder.at('file'), 'sh', '-c', 'echo locked; read line'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const a = new Process(trees[0], {});
  expect(() => a.lock({ whole: true })).toThrow(busy);
  a.lock({ whole: false });
  const got = a.wait({ whole: true }, waiting());
  child.stdin.end('\n');
  await got;
});
