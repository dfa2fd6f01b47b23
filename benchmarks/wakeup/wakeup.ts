// What it takes to wake a device in another process, and what looking at queues before sleeping saves, beside C.
// `npm run build && npx tsx benchmarks/wakeup/wakeup.ts [--json]`
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Descriptor } from 'virtio/channel';
import { DeviceCore, type DeviceHost, device, pollQueues } from 'virtio/device';
import { GuestMemory } from 'virtio/memory';
import { deviceType, status } from 'virtio/spec';
import { AdaptivePolling, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { printReport } from '../report.ts';
import { memoryLength, ringPlaces } from './places.ts';

const rounds = 5;
const trips = 20_000;
/** Milliseconds in which nothing happens, and nothing may be done. */
const idleTime = 500;
/** An event may take so much longer through Node's loop and a foreign function than through C's. */
const eventLimit = 3;
/** And idling may take so much of a processor, in percent. */
const idleLimit = 1;

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'virtio-wakeup-'));
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const host = new NodeDescriptors();
const echo = device(deviceType({ id: 4, name: 'echo', features: {}, queues: { requestq: 0 } }), {
  serve: { requestq: ({ readable, writable }) => void writable.write(readable.bytes(readable.remaining)) },
});

const best = (values: readonly number[]): number => Math.round(Math.min(...values));

/** The driver runs on a processor of its own, as a virtual machine's does. Where that cannot be had, anywhere. */
const apart =
  spawnSync('taskset', ['-cp', '0', String(process.pid)]).status === 0 ? ['taskset', '-c', '1'] : [];

/** Lets one program connect, hands descriptors over, and gives what it says. */
async function served(command: readonly string[], descriptors: Descriptor[]): Promise<string> {
  const path = join(folder, 'socket');
  const listening = listenUnix(path, (channel) => {
    channel.send(Uint8Array.of(0), descriptors);
    channel.listen({ received() {}, closed() {} });
  });
  try {
    const [program = '', ...args] = [...command, path];
    return (await run(program, args)).stdout;
  } finally {
    listening.close();
  }
}

/** A compiler, where there is one, makes the baseline. */
function baseline(): string | undefined {
  const program = join(folder, 'eventfd');
  const { status: failed } = spawnSync('cc', ['-O2', '-o', program, file('eventfd.c')], { stdio: 'inherit' });
  return failed === 0 ? program : undefined;
}

/** Nanoseconds for an event to this process and one back. */
async function answeredEvents(program: string): Promise<number> {
  const [kick, call] = [host.createEvent(), host.createEvent()];
  const stop = host.watch(kick, () => host.signal(call));
  const said = await served([program, String(trips)], [kick, call]);
  stop();
  for (const event of [kick, call]) event.close();
  return Number(said);
}

interface Requests {
  readonly nanoseconds: number;
  /** Notifications for each request. */
  readonly kicks: number;
  /** Percent of a processor, when there are no requests any more. */
  readonly idle: number;
}

/** Requests, one after the other, from a driver in another process. */
async function requests(polling: DeviceHost['polling']): Promise<Requests> {
  const shared = host.createMemory(memoryLength);
  const mapped = host.map(shared, 0, memoryLength);
  const kick = host.createEvent();
  const memory = new GuestMemory();
  for (const piece of mapped.pieces) memory.addRegion(0, piece, { pinned: true, shared: true });
  const core = new DeviceCore(echo, { memory, interruptQueue() {}, interruptConfig() {}, polling });
  const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
  core.writeStatus(ACKNOWLEDGE | DRIVER);
  core.writeDriverFeatures(1, 1); // VIRTIO_F_VERSION_1
  core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  Object.assign(core.queues[0] ?? {}, ringPlaces);
  core.enableQueue(0);
  core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  const stop = host.watch(kick, () => core.notify(0));
  const driver = [...apart, process.execPath, '--import', 'tsx', file('driver.ts'), String(trips)];
  const said = JSON.parse(await served(driver, [shared, kick]));
  const idle = await idlePercent();
  stop();
  core.detach();
  for (const each of [mapped, shared, kick]) each.close();
  return { ...said, idle };
}

async function idlePercent(): Promise<number> {
  const start = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, idleTime));
  const { user, system } = process.cpuUsage(start);
  return (user + system) / (10 * idleTime);
}

try {
  const program = baseline();
  const times: Record<'c' | 'events' | 'notified' | 'polled', number[]> = {
    c: [],
    events: [],
    notified: [],
    polled: [],
  };
  const kicks = { notified: 1, polled: 1 };
  let idle = 0;
  // In turns, so that what else the machine does meets all of them.
  for (let round = 0; round < rounds; round++) {
    if (program !== undefined) {
      times.c.push(Number((await run(program, [String(trips)])).stdout));
      times.events.push(await answeredEvents(program));
    }
    const notified = await requests(undefined);
    const polled = await requests(pollQueues(new AdaptivePolling()));
    if (polled.nanoseconds < Math.min(...times.polled)) kicks.polled = polled.kicks;
    kicks.notified = notified.kicks;
    times.notified.push(notified.nanoseconds);
    times.polled.push(polled.nanoseconds);
    idle = Math.max(idle, polled.idle);
  }
  const eventRatio = Math.round((100 * best(times.events)) / best(times.c)) / 100;
  const pollingRatio = Math.round((100 * best(times.polled)) / best(times.notified)) / 100;
  const share = (value: number): number => Math.round(1000 * value) / 1000;
  printReport({
    name: 'waking a device in another process: nanoseconds for the way there and back, best of the rounds',
    rows: [
      ...(program === undefined
        ? []
        : [
            { what: 'eventfd, C on both ends', ns: best(times.c), kicks: 1 },
            { what: 'eventfd, answered by watch and signal', ns: best(times.events), kicks: 1 },
          ]),
      { what: 'request, notified', ns: best(times.notified), kicks: share(kicks.notified) },
      { what: 'request, looked for', ns: best(times.polled), kicks: share(kicks.polled) },
    ],
    targets: [
      ...(program === undefined
        ? []
        : [{ what: 'an event, to C', value: eventRatio, limit: eventLimit, met: eventRatio <= eventLimit }]),
      {
        what: 'a request looked for, to one notified',
        value: pollingRatio,
        limit: 1,
        met: pollingRatio <= 1,
      },
      {
        what: '% of a processor, idle after polling',
        value: share(idle),
        limit: idleLimit,
        met: idle <= idleLimit,
      },
    ],
  });
} finally {
  rmSync(folder, { recursive: true });
}
