import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blkDevice, type MemoryStorage, memoryStorage, type Storage } from 'virtio/devices/blk';
import { entropyDevice } from 'virtio/devices/entropy';
import { fsDevice, memoryFiles } from 'virtio/devices/fs';
import { type FolderTree, shareFolder } from 'virtio-node/files';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Machine } from './v86-machine.ts';

const diskSize = 8 * 2 ** 20;
const rng = () => entropyDevice({ source: (target) => crypto.getRandomValues(target) });

/** A disk that takes its time, so that requests are in flight whenever one looks. */
function slowStorage(beneath: MemoryStorage): Storage & { readonly pending: number } {
  let pending = 0;
  const later = async (work: () => void): Promise<void> => {
    pending++;
    await new Promise((resolve) => setTimeout(resolve, 2));
    pending--;
    work();
  };
  return {
    size: beneath.size,
    readOnly: false,
    immediate: false,
    read: (offset, target) => later(() => beneath.read(offset, target)),
    write: (offset, source) => later(() => beneath.write(offset, source)),
    flush: () => later(() => {}),
    get pending() {
      return pending;
    },
  };
}

let first: Machine;
let folder: string;
const shares: FolderTree[] = [];
const memory = memoryFiles();
let booted: ArrayBuffer;
const beneath = memoryStorage(diskSize);
const slow = slowStorage(beneath);

/** A folder of this machine, opened anew for each machine, and files in memory. */
function shared() {
  const tree = shareFolder(folder);
  shares.push(tree);
  return [fsDevice({ tag: 'folder', files: tree }), fsDevice({ tag: 'memory', files: memory })];
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-states-'));
  first = await Machine.boot({ devices: [blkDevice({ storage: slow }), rng(), ...shared()] });
  booted = await first.emulator.save_state();
});

afterAll(async () => {
  await first?.stop();
  for (const tree of shares) tree.close();
  await rm(folder, { recursive: true });
});

test('a state saved in the middle of I/O goes on in another machine, with nothing lost or done twice', async () => {
  // Writes, syncs, reads back and compares, over and over; the last line is a hash of the whole disk.
  const work = first.exec(
    `head -c 1048576 /dev/urandom >/tmp/r; for i in $(seq 0 7); do
       dd if=/tmp/r of=/dev/vda bs=64k seek=$((i * 16)) conv=fsync 2>/dev/null &
       echo $i >/tmp/n; wait
       dd if=/dev/vda bs=1M skip=$i count=1 iflag=direct 2>/dev/null | cmp - /tmp/r || exit 9
     done; head -c 64 /dev/hwrng >/dev/null && sha256sum </dev/vda`,
  );
  await first.until(() => slow.pending > 0, 'a request in flight');
  const state = await first.emulator.save_state();
  const disk = beneath.bytes.slice();
  expect(slow.pending).toBeGreaterThan(0);

  const undisturbed = await work;
  expect(undisturbed.status).toBe(0);

  const copy = memoryStorage(disk);
  const second = await Machine.resume(state, {
    devices: [blkDevice({ storage: slowStorage(copy) }), rng(), ...shared()],
  });
  try {
    const { status, output } = await second.ended('the work that the first machine began');
    expect(status).toBe(0);
    expect(output.toString()).toBe(`${createHash('sha256').update(copy.bytes).digest('hex')}  -\n`);
    // The devices are the guest's own drivers' still.
    expect(await second.text('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0');
    expect(second.errors).toEqual([]);
  } finally {
    await second.stop();
  }
});

test('a guest goes on with the files that it had open, and finds none in the place of another', async () => {
  // One process has three files of each share open while the machine is saved; it goes on where it was.
  await first.text(
    `modprobe virtiofs; for d in folder memory; do
       mkdir -p /tmp/$d/; mount -t virtiofs $d /tmp/$d; mkdir /tmp/$d/in
       for f in kept moved gone; do echo "old $f" >/tmp/$d/in/$f; done
       (cd /tmp/$d/in; exec 3<>kept 4<moved 5<gone; : >/tmp/$d.open; until [ -e /tmp/go ]; do sleep 0.1; done
        echo 3 >/proc/sys/vm/drop_caches; cat <&3; echo more >&3; cat <&4; cat <&5; stat -L /proc/self/fd/5; ls; : >/tmp/$d.done) >/tmp/$d.said 2>&1 &
       until [ -e /tmp/$d.open ]; do sleep 0.1; done
     done`,
  );
  const state = await first.emulator.save_state();
  await rm(join(folder, 'in', 'gone'));
  await writeFile(join(folder, 'in', 'gone'), 'another\n');
  memory.remove('/in/gone');
  memory.writeFile('/in/gone', 'another\n');
  const second = await Machine.resume(state, {
    devices: [blkDevice({ storage: slowStorage(memoryStorage(diskSize)) }), rng(), ...shared()],
  });
  try {
    await second.text(
      ': >/tmp/go; for d in folder memory; do until [ -e /tmp/$d.done ]; do sleep 0.1; done; done',
    );
    // What is in memory is there while the first machine has it open, without a name.
    const gone = { folder: /Stale file handle/, memory: /^old gone$/m };
    for (const [share, said] of Object.entries(gone)) {
      const found = await second.text(`cat /tmp/${share}.said`);
      expect(found).toMatch(/^old kept\nold moved\n/);
      expect(found).toMatch(said);
      expect(found).toMatch(/\ngone\nkept\nmoved$/);
      expect(found).not.toMatch(/another/);
      expect(await second.text(`cat /tmp/${share}/in/gone`)).toBe('another');
    }
    expect(await readFile(join(folder, 'in', 'kept'), 'utf8')).toBe('old kept\nmore\n');
    expect(new TextDecoder().decode(memory.readFile('/in/kept'))).toBe('old kept\nmore\n');
    expect(second.errors).toEqual([]);
  } finally {
    await second.stop();
  }
});

test('a machine takes its own earlier state back while it runs', async () => {
  await first.text('echo before >/tmp/mark');
  const state = await first.emulator.save_state();
  const disk = beneath.bytes.slice();
  await first.text(
    'echo after >/tmp/mark; dd if=/dev/urandom of=/dev/vda bs=1M count=4 conv=fsync 2>/dev/null',
  );
  void first.instruct({ type: 'exec', command: 'dd if=/dev/vda of=/dev/null bs=4k iflag=direct' });
  await first.until(() => slow.pending > 0, 'a request in flight');
  await first.emulator.restore_state(state);
  beneath.bytes.set(disk);
  expect(await first.text('cat /tmp/mark')).toBe('before');
  expect(await first.text('dd if=/dev/vda bs=1M count=1 iflag=direct 2>/dev/null | sha256sum')).toBe(
    `${createHash('sha256')
      .update(disk.subarray(0, 2 ** 20))
      .digest('hex')}  -`,
  );
  expect(first.errors).toEqual([]);
});

test('a state does not go into a machine with other devices, which is left as it was', async () => {
  const other = await Machine.create({ devices: [rng()] });
  try {
    await expect(other.emulator.restore_state(booted.slice(0))).rejects.toMatchObject({
      code: 'BAD_STATE',
      message: 'the saved state has a device of type 2 in PCI slot 17, where entropy is attached',
    });
    const ready = other.ready();
    await other.emulator.run();
    await ready;
    expect(await other.text('echo booted by itself')).toBe('booted by itself');
  } finally {
    await other.stop();
  }
});
