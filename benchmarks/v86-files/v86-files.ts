/**
 * A folder in v86: ours, of this machine and in memory, beside v86's own 9p file system, which is in memory; in one boot.
 * Each is mounted anew for each case; the best of all runs counts.
 * `npx tsx benchmarks/v86-files/v86-files.ts [--json] [--runs=3]`, after `npm run build`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fsDevice, memoryFiles } from 'virtio/devices/fs';
import { shareFolder } from 'virtio-node/files';
import { Machine } from '../../guests/v86-machine.ts';
import { numberOption } from '../measures.ts';
import { printReport } from '../report.ts';
import { makeTree } from '../tree.ts';

const runs = numberOption('runs', 3);
/** Ours is to be no slower than v86's. */
const limit = 1;
const bigSize = 32 * 2 ** 20;
const files = 500;

/** As the guest of `virtio run` does. v86's 9p reads as far ahead as its `msize`, virtiofs 128 KiB unless told. */
const readFarAhead =
  'while read -r _ _ device _ place _; do [ $place != /mnt ] || echo 1024 >/sys/class/bdi/$device/read_ahead_kb; done </proc/self/mountinfo';

const mounts = {
  folder: `mount -t virtiofs folder /mnt && ${readFarAhead}`,
  memory: `mount -t virtiofs memory /mnt && ${readFarAhead}`,
  '9p': 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose host9p /mnt',
} as const;
type Mount = keyof typeof mounts;
const names: readonly Mount[] = ['9p', 'folder', 'memory'];

const mebibytes = bigSize / 2 ** 20;
const cases = {
  '1 MiB read': { command: 'dd if=/mnt/big of=/dev/null bs=1M', unit: 'MiB/s', amount: mebibytes },
  '1 MiB write': {
    command: `dd if=/dev/zero of=/mnt/new bs=1M count=${mebibytes}; sync; rm /mnt/new`,
    unit: 'MiB/s',
    amount: mebibytes,
  },
  [`walk over ${files} files`]: { command: 'find /mnt/small -type f -size +100', unit: '1/s', amount: files },
  [`cat of ${files} files`]: {
    command: 'find /mnt/small -type f -exec cat {} +',
    unit: '1/s',
    amount: files,
  },
} as const;

const base = await mkdtemp(join(tmpdir(), 'virtio-v86-files-'));
const rows: Record<string, string | number>[] = [];
try {
  await makeTree(base, { bigSize, folders: 10, files });
  const folder = shareFolder(base);
  const machine = await Machine.boot({
    modules: ['9p', '9pnet_virtio'],
    devices: [fsDevice({ tag: 'folder', files: folder }), fsDevice({ tag: 'memory', files: memoryFiles() })],
    v86: { filesystem: {} },
  });
  await machine.text(
    'modprobe -a virtiofs 9p 9pnet_virtio; mkdir /tmp/from; mount -t virtiofs folder /tmp/from',
  );
  for (const name of ['9p', 'memory'] as const) {
    await machine.text(`${mounts[name]}; cp -r /tmp/from/. /mnt/ && umount /mnt`);
  }
  for (const [name, { command, unit, amount }] of Object.entries(cases)) {
    const seconds: Record<Mount, number> = { folder: Infinity, memory: Infinity, '9p': Infinity };
    for (let run = 0; run < runs; run++) {
      for (const mount of names)
        seconds[mount] = Math.min(seconds[mount], await measure(machine, mount, command));
    }
    const speed = (mount: Mount): number => Math.round((amount / seconds[mount]) * 10) / 10;
    rows.push({
      what: name,
      unit,
      folder: speed('folder'),
      memory: speed('memory'),
      '9p': speed('9p'),
      'folder, times as fast': Math.round((seconds['9p'] / seconds.folder) * 100) / 100,
      'memory, times as fast': Math.round((seconds['9p'] / seconds.memory) * 100) / 100,
    });
  }
  await machine.stop();
  folder.close();
} finally {
  await rm(base, { recursive: true });
}

/** Seconds of the guest's clock. */
async function measure(machine: Machine, mount: Mount, command: string): Promise<number> {
  const clock = "sed -n 's/^now at \\([0-9]*\\) nsecs/\\1/p' /proc/timer_list";
  await machine.text(`${mounts[mount]}; echo 3 >/proc/sys/vm/drop_caches`);
  const text = await machine.text(
    `a=$(${clock}); ( ${command} ) >/dev/null 2>&1; b=$(${clock}); echo $a $b; umount /mnt`,
  );
  const [from = Number.NaN, to = Number.NaN] = text.split(' ').map(Number);
  return (to - from) / 1e9;
}

printReport({
  name: "v86-files: folders in v86 beside v86's own 9p",
  rows,
  targets: rows.map((row) => {
    const value = Number(row['folder, times as fast']);
    return { what: `${row.what}, a folder`, value, limit, met: value >= limit };
  }),
});
process.exit();
