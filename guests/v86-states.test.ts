import { createHash } from 'node:crypto';
import { blkDevice, type MemoryStorage, memoryStorage, type Storage } from 'virtio/devices/blk';
import { entropyDevice } from 'virtio/devices/entropy';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Machine } from './machine.ts';

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
let booted: ArrayBuffer;
const beneath = memoryStorage(diskSize);
const slow = slowStorage(beneath);

beforeAll(async () => {
  first = await Machine.boot({ devices: [blkDevice({ storage: slow }), rng()] });
  booted = await first.emulator.save_state();
});

afterAll(() => first.stop());

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
  const second = await Machine.resume(state, { devices: [blkDevice({ storage: slowStorage(copy) }), rng()] });
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
