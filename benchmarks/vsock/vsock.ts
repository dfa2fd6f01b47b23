/**
 * `virtio serve vsock` beside rust-vmm's vhost-device-vsock, under the same driver, ours: round trips through an echo on the
 * host, and bytes in each direction between the driver and a Unix socket of the host. The host's own Unix sockets, with nothing of
 * virtio in between, are what there is at most.
 * `npx tsx benchmarks/vsock/vsock.ts [--json] [--rounds=5] [--seconds=0.5]`, after `npm run build`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openVsock, type VsockStream } from 'virtio/devices/vsock';
import { ensureTool, GuardedChild } from 'virtio-node/guests';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { median, numberOption } from '../measures.ts';
import { processorSeconds } from '../process-usage.ts';
import { printReport } from '../report.ts';
import { port } from './ports.ts';

const rounds = numberOption('rounds', 5);
const seconds = numberOption('seconds', 0.5);
/** The longest that a measurement may take beside its time, in milliseconds: a peer that stalls is named, not waited for. */
const patience = 20_000;
/** Our back end is to be no slower than rust-vmm's. */
const limit = 1;
const message = new Uint8Array(64).fill(1);
const piece = new Uint8Array(65_536).fill(2);

/** A connection of either kind. */
interface Connection {
  write(bytes: Uint8Array): Promise<void>;
  /** At least one byte, unless the other side has ended. */
  read(): Promise<Uint8Array | undefined>;
  close(): void;
}

/** Who is measured: how a connection to a port of the host is made, and the process that is in between. */
interface Peer {
  readonly connect: (port: number) => Promise<Connection>;
  readonly pid: number | undefined;
}

const command = fileURLToPath(new URL('../../packages/cli/bin/virtio.js', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'virtio-vsock-'));
const ports = (name: string): string => join(folder, `${name}-ports`);
const socketOf = (name: string): string => join(folder, name);

const overVsock = (stream: VsockStream): Connection => ({
  write: (bytes) => stream.write(bytes),
  read: () => stream.read(),
  close: () => stream.reset(),
});

function overUnix(socket: Socket): Connection {
  socket.pause();
  return {
    async write(bytes) {
      if (!socket.write(bytes)) await once(socket, 'drain');
    },
    async read() {
      for (;;) {
        // In binary mode it is a buffer or nothing.
        const bytes = socket.read() as Buffer | null;
        if (bytes !== null) return bytes;
        await once(socket, 'readable');
      }
    },
    close: () => socket.destroy(),
  };
}

async function start(name: string, file: string, args: readonly string[], environment = {}): Promise<Peer> {
  const child = await GuardedChild.start(file, args, { name, environment });
  while (!existsSync(socketOf(name))) {
    if (child.hasEnded) throw await child.ended;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  children.push(child);
  const guest = await openVsock(await connectVhostUser(socketOf(name), { deviceId: 19 }));
  return { pid: child.pid, connect: async (number) => overVsock(await guest.connect(number)) };
}

const children: GuardedChild[] = [];
/** The host's end of everything is a process of its own, as it would be. */
const host = fork(
  fileURLToPath(new URL('./host.ts', import.meta.url)),
  [ports('ours'), ports('rust'), ports('none')],
  {
    execArgv: ['--import', 'tsx'],
  },
);
await once(host, 'message');

async function roundTrips(connection: Connection): Promise<number> {
  let count = 0;
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await connection.write(message);
    for (let received = 0; received < message.length; ) received += (await connection.read())?.length ?? 0;
    count++;
  }
  return count;
}

async function bytesOut(connection: Connection): Promise<number> {
  let count = 0;
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await connection.write(piece);
    count += piece.length;
  }
  return count;
}

async function bytesIn(connection: Connection): Promise<number> {
  let count = 0;
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) count += (await connection.read())?.length ?? 0;
  return count;
}

const loads = [
  { name: 'round trips of 64 bytes, a second', port: port.echo, run: roundTrips, unit: 1, cpu: 1e-6 },
  { name: 'MB/s out of the guest', port: port.sink, run: bytesOut, unit: 1e6, cpu: 1e9 },
  { name: 'MB/s into the guest', port: port.source, run: bytesIn, unit: 1e6, cpu: 1e9 },
] as const;

interface Measured {
  /** Units a second. */
  readonly rate: number;
  /** Seconds of the back end's processor: a million round trips', or a gigabyte's. */
  readonly cpu: number;
}

async function measure({ connect, pid }: Peer, load: (typeof loads)[number]): Promise<Measured> {
  const connection = await connect(load.port);
  const before = [performance.now(), pid === undefined ? 0 : processorSeconds(pid)] as const;
  const count = await load.run(connection);
  const elapsed = (performance.now() - before[0]) / 1000;
  const cpu = pid === undefined ? Number.NaN : processorSeconds(pid) - before[1];
  connection.close();
  return { rate: count / load.unit / elapsed, cpu: cpu / (count / (load.unit === 1 ? 1e6 : 1e9)) };
}

async function inTime<T>(what: string, measured: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what}: nothing came for ${patience / 1000} s`)),
      seconds * 1000 + patience,
    );
  });
  return Promise.race([measured, late]).finally(() => clearTimeout(timer));
}

const rounded = (value: number): number => (value < 100 ? Math.round(value * 100) / 100 : Math.round(value));

const names = ['rust', 'ours', 'none'] as const;
type Name = (typeof names)[number];
const nothingYet = (): Record<Name, Measured[]> => ({ rust: [], ours: [], none: [] });

try {
  const { file, environment } = await ensureTool('vhost-device-vsock', { path: [] });
  const peers = {
    rust: await start(
      'rust',
      file,
      ['--guest-cid', '3', '--socket', socketOf('rust'), '--uds-path', ports('rust')],
      environment,
    ),
    ours: await start('ours', process.execPath, [
      ...[command, 'serve', 'vsock', '--socket-path', socketOf('ours')],
      ...['--uds-path', ports('ours')],
    ]),
    none: {
      pid: undefined,
      connect: async (number: number) => {
        const socket = createConnection(`${ports('none')}_${number}`);
        await once(socket, 'connect');
        return overUnix(socket);
      },
    } satisfies Peer,
  };
  const results = loads.map((load) => ({
    load,
    of: nothingYet(),
  }));
  for (let round = 0; round < rounds; round++) {
    for (const { load, of } of results)
      for (const name of names)
        of[name].push(await inTime(`${load.name} (${name})`, measure(peers[name], load)));
  }
  const rows = results.map(({ load, of }) => {
    const rate = (name: Name): number => median(of[name].map((one) => one.rate));
    const cpu = (name: Name): number => rounded(median(of[name].map((one) => one.cpu)));
    return {
      what: load.name,
      ours: rounded(rate('ours')),
      'rust-vmm': rounded(rate('rust')),
      ratio: rounded(rate('ours') / rate('rust')),
      'no virtio': rounded(rate('none')),
      'ours CPU': cpu('ours'),
      'rust-vmm CPU': cpu('rust'),
      'CPU unit': load.unit === 1 ? 's a million' : 's a GB',
    };
  });
  printReport({
    name: 'our vhost-user socket back end beside vhost-device-vsock, under our driver',
    rows,
    targets: rows.map(({ what, ratio }) => ({ what, value: ratio, limit, met: ratio >= limit })),
  });
} finally {
  for (const child of children) await child.kill();
  host.kill();
  await rm(folder, { recursive: true, force: true });
}
process.exit();
