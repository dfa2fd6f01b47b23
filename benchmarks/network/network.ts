/**
 * One TCP stream each way between a guest and this machine, by iperf3: in user-mode Linux through our device and user network,
 * served by `virtio serve net`, beside passt's vhost-user; and in v86 through our device beside v86's own, both on our user
 * network. Ratios are ours to theirs, the two measured in turns.
 * `npx tsx benchmarks/network/network.ts [--json] [--rounds=5] [--seconds=2] [--only=uml|v86]`, after `npm run build`.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { netDevice } from 'virtio/devices/net';
import { connect, type Endpoint, type Link, noOffloads } from 'virtio/link';
import { userNetwork } from 'virtio/network';
import { ensureTool, GuardedChild, GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { nodeUplink } from 'virtio-node/network';
import { UmlMachine } from 'virtio-node/uml';
import { freePort } from '../../guests/net-servers.ts';
import { startPasst } from '../../guests/passt.ts';
import { Machine } from '../../guests/v86-machine.ts';
import { listening } from '../listening.ts';
import { median, numberOption, option, rounded } from '../measures.ts';
import { memoryOf, processorSeconds } from '../process-usage.ts';
import { printReport } from '../report.ts';

const rounds = numberOption('rounds', 5);
const seconds = numberOption('seconds', 2);
const only = option('only');
/** Slower than this is a finding to be explained. */
const limit = 0.7;

const command = fileURLToPath(new URL('../../packages/cli/bin/virtio.js', import.meta.url));
const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'virtio-network-'));
const iperf = await ensureTool('iperf3');
const port = await freePort();
const server = await GuardedChild.start(iperf.file, ['--server', '--port', `${port}`], {
  name: 'iperf3',
  environment: iperf.environment,
});

/** What iperf3 says, as far as it is used here. */
interface Said {
  readonly end: { readonly sum_received: { readonly bytes: number; readonly bits_per_second: number } };
}

interface Measured {
  /** Bits per second, as they arrived. */
  readonly speed: number;
  /** Seconds of processor time for each gigabyte. */
  readonly cpu: number;
}

const directions = { 'out of the guest': '', 'into the guest': '--reverse' } as const;
type Direction = keyof typeof directions;

/** One stream, and what a process used meanwhile. */
async function measure(
  text: (command: string) => Promise<string>,
  host: string,
  direction: Direction,
  used: () => number,
  time: number = seconds,
): Promise<Measured> {
  const before = used();
  const said = await text(
    `iperf3 --client ${host} --port ${port} --time ${time} --json ${directions[direction]}`,
  );
  // It is iperf3's own answer.
  const { bytes, bits_per_second } = (JSON.parse(said) as Said).end.sum_received;
  return { speed: bits_per_second, cpu: (used() - before) / (bytes / 1e9) };
}

/** In MiB. */
const mostMemory = (pid: number): number => Math.round(memoryOf(pid, 'VmHWM') / 1024);

const rows: Record<string, string | number>[] = [];

function addRow(
  what: string,
  ours: readonly Measured[],
  theirs: readonly Measured[],
  more: Readonly<Record<string, string | number>>,
): void {
  const speed = (of: readonly Measured[]): number => median(of.map(({ speed }) => speed));
  const cpu = (of: readonly Measured[]): number => rounded(median(of.map(({ cpu }) => cpu)));
  rows.push({
    what,
    'ours Mbit/s': Math.round(speed(ours) / 1e6),
    'theirs Mbit/s': Math.round(speed(theirs) / 1e6),
    ratio: rounded(speed(ours) / speed(theirs)),
    'ours CPU s/GB': cpu(ours),
    'theirs CPU s/GB': cpu(theirs),
    ...more,
  });
}

async function inUml(): Promise<void> {
  const guest = await guestFiles({ machine: 'uml', programs: ['iperf3'] });
  const sockets = { ours: join(folder, 'ours'), theirs: join(folder, 'theirs') };
  const backEnds = {
    ours: await GuardedChild.start(
      process.execPath,
      [command, 'serve', 'net', '--socket-path', sockets.ours],
      { name: 'our back end' },
    ),
    theirs: await startPasst(sockets.theirs, '--vhost-user'),
  };
  await listening(backEnds.ours, sockets.ours);
  const boot = async (socket: string): Promise<{ machine: UmlMachine; session: GuestSession }> => {
    const machine = await UmlMachine.start({
      guest,
      devices: [{ socket, id: 1 }],
      ports: 2,
      append: serialPorts('ttyS0', 'ttyS1'),
    });
    const session = new GuestSession(machine);
    await session.ready();
    return { machine, session };
  };
  const guests = { ours: await boot(sockets.ours), theirs: await boot(sockets.theirs) };
  const one = (peer: 'ours' | 'theirs', direction: Direction, time?: number): Promise<Measured> => {
    const used = (): number => processorSeconds(backEnds[peer].pid);
    return measure((text) => guests[peer].session.text(text), '10.0.2.2', direction, used, time);
  };
  for (const direction of ['out of the guest', 'into the guest'] as const) {
    const of: Record<'ours' | 'theirs', Measured[]> = { ours: [], theirs: [] };
    for (const peer of ['ours', 'theirs'] as const) await one(peer, direction, 1);
    for (let round = 0; round < rounds; round++) {
      for (const peer of ['ours', 'theirs'] as const) of[peer].push(await one(peer, direction));
    }
    addRow(`user-mode Linux, passt: ${direction}`, of.ours, of.theirs, {
      'ours MiB': mostMemory(backEnds.ours.pid),
      'theirs MiB': mostMemory(backEnds.theirs.pid),
    });
  }
  for (const { machine } of Object.values(guests)) await machine.close();
  for (const child of Object.values(backEnds)) await child.kill();
}

/** v86's own network device as the end of a link. */
class OwnDevice implements Endpoint {
  readonly takes = noOffloads;
  readonly #emulator: Machine['emulator'];
  #link: Link | undefined;

  constructor(emulator: Machine['emulator']) {
    this.#emulator = emulator;
    // It cannot be told to wait; what nobody has room for is lost.
    emulator.add_listener('net0-send', (frame) => void this.#link?.send(frame));
  }

  attached(link: Link): void {
    this.#link = link;
  }

  receive(frame: Uint8Array): boolean {
    // v86's types leave its bus out.
    const { bus } = this.#emulator as unknown as { bus: { send(what: string, frame: Uint8Array): void } };
    bus.send('net0-receive', frame.slice());
    return true;
  }

  room(): void {}
}

async function inV86(): Promise<void> {
  const uplink = nodeUplink();
  const networks = [2, 3].map((number) => userNetwork({ uplink, ipv4: { network: `10.0.${number}.0/24` } }));
  const [ours, theirs] = networks;
  if (ours === undefined || theirs === undefined) throw new Error('there are two networks');
  const device = netDevice();
  connect(device.endpoint, ours);
  const machine = await Machine.create({
    devices: [device],
    programs: ['iperf3'],
    v86: { net_device: { type: 'virtio' } },
  });
  connect(new OwnDevice(machine.emulator), theirs);
  const ready = machine.ready();
  await machine.emulator.run();
  await ready;
  const used = (): number => processorSeconds(process.pid);
  const hosts = { ours: '10.0.2.2', theirs: '10.0.3.2' } as const;
  for (const direction of ['out of the guest', 'into the guest'] as const) {
    const of: Record<'ours' | 'theirs', Measured[]> = { ours: [], theirs: [] };
    const one = (peer: 'ours' | 'theirs', time?: number): Promise<Measured> =>
      measure((text) => machine.text(text), hosts[peer], direction, used, time);
    for (const peer of ['ours', 'theirs'] as const) await one(peer, 1);
    for (let round = 0; round < rounds; round++) {
      for (const peer of ['ours', 'theirs'] as const) of[peer].push(await one(peer));
    }
    addRow(`v86, its own device: ${direction}`, of.ours, of.theirs, {
      'ours MiB': mostMemory(process.pid),
      'theirs MiB': mostMemory(process.pid),
    });
  }
  await machine.stop();
}

try {
  if (only !== 'v86') await inUml();
  if (only !== 'uml') await inV86();
} finally {
  await server.kill();
  await rm(folder, { recursive: true, force: true });
}

printReport({
  name: 'network: one TCP stream, ours beside passt and beside v86’s own device',
  rows,
  targets: rows.map((row) => {
    const value = Number(row.ratio);
    return { what: `${row.what}, bits per second`, value, limit, met: value >= limit };
  }),
});
process.exit();
