/**
 * A folder in user-mode Linux, by `virtio serve fs` and by virtiofsd, in one boot: reads and writes of 1 MiB, random reads of
 * 4 KiB, a walk over small files and a `cat` of them. Ratios are ours to virtiofsd's; each case is run on both in turns, and the best of its runs counts.
 * `npx tsx benchmarks/files/files.ts [--json] [--rounds=5]`, after `npm run build`. Linux on x86-64.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ensureTool, GuardedChild, GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { connectUnix } from 'virtio-node/host';
import { UmlMachine } from 'virtio-node/uml';
import { numberOption, option, rounded } from '../measures.ts';
import { memoryOf, processorSeconds } from '../process-usage.ts';
import { printReport } from '../report.ts';
import { makeTree } from '../tree.ts';

const rounds = numberOption('rounds', 5);
const only = option('only') ?? '';
/** Our share is to be no slower than virtiofsd's. */
const limit = 1;
const bigSize = 192 * 2 ** 20;
const files = 5000;
const randomReads = 10_000;
const fsId = 26;

const peers = ['theirs', 'ours'] as const;
type Peer = (typeof peers)[number];

/** What is run in the guest at a folder, and how much that is. */
interface Case {
  readonly name: string;
  readonly command: (folder: string) => string;
  readonly unit: 'MiB/s' | '1/s';
  readonly amount: number;
}

const randomRead = `open F, "<", $ARGV[0]; srand 1; for (1..${randomReads}) {
  sysseek F, 4096 * int rand ${bigSize / 4096}, 0; sysread F, $b, 4096 }`;
const cases: readonly Case[] = [
  {
    name: '1 MiB read',
    command: (folder) => `dd if=${folder}/big of=/dev/null bs=1M iflag=direct`,
    unit: 'MiB/s',
    amount: bigSize / 2 ** 20,
  },
  {
    name: '1 MiB read, by the page cache',
    command: (folder) => `dd if=${folder}/big of=/dev/null bs=1M`,
    unit: 'MiB/s',
    amount: bigSize / 2 ** 20,
  },
  {
    name: '1 MiB write',
    command: (folder) =>
      `dd if=/dev/zero of=${folder}/written bs=1M count=${bigSize / 2 ** 20} oflag=direct; rm ${folder}/written`,
    unit: 'MiB/s',
    amount: bigSize / 2 ** 20,
  },
  {
    name: '4 KiB random read',
    command: (folder) => `perl -e '${randomRead}' ${folder}/big`,
    unit: '1/s',
    amount: randomReads,
  },
  {
    name: `walk over ${files} files`,
    command: (folder) => `find ${folder}/small -type f -size +100`,
    unit: '1/s',
    amount: files,
  },
  {
    name: `cat of ${files} files`,
    command: (folder) => `find ${folder}/small -type f -exec cat {} + >/dev/null`,
    unit: '1/s',
    amount: files,
  },
];

const base = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'virtio-files-'));
const sockets: Readonly<Record<Peer, string>> = { ours: join(base, 'ours'), theirs: join(base, 'theirs') };
const shared = join(base, 'shared');

async function start(peer: Peer): Promise<GuardedChild> {
  const options = ['--socket-path', sockets[peer], '--shared-dir', shared, '--tag', peer, '--cache', 'auto'];
  if (peer === 'ours') {
    const command = fileURLToPath(new URL('../../packages/cli/bin/virtio.js', import.meta.url));
    return GuardedChild.start(process.execPath, [command, 'serve', 'fs', ...options], { name: peer });
  }
  const { file, environment } = await ensureTool('virtiofsd', { path: [] });
  return GuardedChild.start(file, [...options, '--sandbox', 'none'], { name: peer, environment });
}

/** Until it listens: virtiofsd takes one connection and no other. */
async function listening(child: GuardedChild, peer: Peer): Promise<void> {
  for (;;) {
    if (child.hasEnded) throw await child.ended;
    if (existsSync(sockets[peer])) break;
    await setTimeout(20);
  }
  if (peer === 'ours') connectUnix(sockets[peer]).close();
}

interface Measured {
  readonly seconds: number;
  readonly cpu: number;
}

/** Of all rounds: what else the machine has to do makes every other one slower. */
const best = (values: readonly number[]): number => Math.min(...values);

const children = new Map<Peer, GuardedChild>();
const results = new Map<string, Record<Peer, Measured[]>>();
let guest: UmlMachine | undefined;
const memory: Record<Peer, number> = { ours: 0, theirs: 0 };
try {
  await makeTree(shared, { bigSize, folders: 50, files });
  for (const peer of peers) {
    const child = await start(peer);
    children.set(peer, child);
    await listening(child, peer);
  }
  guest = await UmlMachine.start({
    guest: await guestFiles({ machine: 'uml', programs: ['perl-base'] }),
    memory: 512,
    ports: 2,
    append: serialPorts('ttyS0', 'ttyS1'),
    devices: peers.map((peer) => ({ socket: sockets[peer], id: fsId })),
  });
  const session = new GuestSession(guest);
  await session.ready();
  await session.text('modprobe virtiofs; mkdir -p /mnt/ours /mnt/theirs');
  for (let round = 0; round <= rounds; round++) {
    for (const one of cases.filter(({ name }) => name.includes(only))) {
      for (const peer of peers) {
        const measured = await measure(session, one, peer);
        // The first round warms up.
        if (round === 0) continue;
        const of = results.get(one.name) ?? { ours: [], theirs: [] };
        results.set(one.name, of);
        of[peer].push(measured);
      }
    }
  }
  // Its own: what it shares with the guest is the guest's.
  for (const peer of peers) memory[peer] = memoryOf(childOf(peer).pid, 'RssAnon');
} finally {
  await guest?.close();
  for (const child of children.values()) await child.kill();
  await rm(base, { recursive: true, force: true });
}

function childOf(peer: Peer): { readonly pid: number } {
  return { pid: children.get(peer)?.pid ?? 0 };
}

async function measure(session: GuestSession, one: Case, peer: Peer): Promise<Measured> {
  const mounted = `/mnt/${peer}`;
  await session.text(`mount -t virtiofs ${peer} ${mounted}; echo 3 >/proc/sys/vm/drop_caches`);
  const before = processorSeconds(childOf(peer).pid);
  const clock = "sed -n 's/^now at \\([0-9]*\\) nsecs/\\1/p' /proc/timer_list";
  const said = await session.text(
    `a=$(${clock}); ( ${one.command(mounted)} ) >/dev/null 2>&1; b=$(${clock}); echo $a $b`,
  );
  const [from = Number.NaN, to = Number.NaN] = said.split(' ').map(Number);
  const seconds = (to - from) / 1e9;
  const cpu = processorSeconds(childOf(peer).pid) - before;
  await session.text(`umount ${mounted}`);
  return { seconds, cpu };
}

const rows = [...results].map(([name, of]) => {
  const { unit, amount } = cases.find((one) => one.name === name)!;
  const speed = (peer: Peer): number => amount / best(of[peer].map(({ seconds }) => seconds));
  const perGigabyte = unit === 'MiB/s' ? 1024 / amount : 1e6 / amount;
  const cpu = (peer: Peer): number => best(of[peer].map((one) => one.cpu)) * perGigabyte;
  return {
    what: name,
    unit,
    ours: Math.round(speed('ours')),
    virtiofsd: Math.round(speed('theirs')),
    ratio: rounded(speed('ours') / speed('theirs')),
    'CPU of': unit === 'MiB/s' ? 'a GiB, s' : 'one, µs',
    'ours, CPU': rounded(cpu('ours')),
    'virtiofsd, CPU': rounded(cpu('theirs')),
  };
});

printReport({
  name: `files: a shared folder in user-mode Linux, beside virtiofsd (memory: ours ${memory.ours} KiB, virtiofsd ${memory.theirs} KiB)`,
  rows,
  targets: rows.map(({ what, ratio }) => ({ what, value: ratio, limit, met: ratio >= limit })),
});
