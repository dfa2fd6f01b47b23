/**
 * A guest's sequential read of 64 MiB from our disk and from v86's own IDE disk, in one boot, over the same bytes
 * in memory. A third disk, ours as well, copies nothing: what remains is the guest's own work.
 * `npx tsx benchmarks/v86-disk/v86-disk.ts [--json] [--runs=5]`, after `npm run build`.
 */
import { blkDevice, memoryStorage, type Storage } from 'virtio/devices/blk';
import { Machine } from '../../guests/v86-machine.ts';
import { numberOption } from '../measures.ts';
import { printReport } from '../report.ts';

const size = 64 * 2 ** 20;
const runs = numberOption('runs', 5);
/** How many times as fast as IDE our disk is to be. */
const limit = 2;

const forms = {
  'buffered, 1 MiB': 'bs=1M',
  'direct, 1 MiB': 'bs=1M iflag=direct',
  'direct, 64 KiB': 'bs=64k iflag=direct',
  'direct, 4 KiB': 'bs=4k iflag=direct',
} as const;
const disks = { ours: 'vda', nothing: 'vdb', ide: 'sda' } as const;
type Disk = keyof typeof disks;

const nothing: Storage = { size, readOnly: true, immediate: true, read() {}, write() {}, flush() {} };

/** Seconds for each form and disk: the best of all runs, once the emulator has compiled what it runs. */
async function measure(ideMode: 'DMA' | 'PIO', runs: number): Promise<Map<string, Record<Disk, number>>> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  const machine = await Machine.boot({
    modules: ['ata_piix', 'sd_mod'],
    devices: [blkDevice({ storage: memoryStorage(bytes) }), blkDevice({ storage: nothing })],
    append: ideMode === 'PIO' ? 'libata.dma=0' : '',
    v86: { hda: { buffer: bytes.slice().buffer } },
  });
  await machine.text('modprobe -a ata_piix sd_mod; until [ -b /dev/sda ]; do sleep 0.1; done');
  const best = new Map<string, Record<Disk, number>>();
  for (let run = 0; run < runs; run++) {
    for (const [form, options] of Object.entries(forms)) {
      const row = best.get(form) ?? { ours: Infinity, nothing: Infinity, ide: Infinity };
      best.set(form, row);
      for (const disk of ['ours', 'nothing', 'ide'] as const) {
        row[disk] = Math.min(row[disk], await read(machine, disks[disk], options));
      }
    }
  }
  await machine.stop();
  return best;
}

/** Seconds of the guest's clock. */
async function read(machine: Machine, disk: string, options: string): Promise<number> {
  const clock = "sed -n 's/^now at \\([0-9]*\\) nsecs/\\1/p' /proc/timer_list";
  const text = await machine.text(
    `echo 3 >/proc/sys/vm/drop_caches; a=$(${clock}); dd if=/dev/${disk} of=/dev/null ${options} 2>/dev/null; b=$(${clock}); echo $a $b`,
  );
  const [from = Number.NaN, to = Number.NaN] = text.split(' ').map(Number);
  return (to - from) / 1e9;
}

const rows: Record<string, string | number>[] = [];
const targets = [];
const speed = (seconds: number): number => Math.round(size / 2 ** 20 / seconds);
for (const mode of ['DMA', 'PIO'] as const) {
  for (const [form, { ours, nothing: floor, ide }] of await measure(mode, mode === 'DMA' ? runs : 2)) {
    const ratio = Math.round((ide / ours) * 100) / 100;
    rows.push({
      read: form,
      'ours, MiB/s': speed(ours),
      'IDE, MiB/s': speed(ide),
      'IDE by': mode,
      'times as fast': ratio,
      "guest's own share": Math.round((floor / ours) * 100) / 100,
    });
    if (form === 'direct, 64 KiB') {
      targets.push({
        what: `${form}: times as fast as IDE by ${mode}`,
        value: ratio,
        limit,
        met: ratio >= limit,
      });
    }
  }
}
printReport({ name: "v86-disk: a guest's sequential read of 64 MiB", rows, targets });
process.exit();
