import type { Channel } from 'virtio/channel';
import { pollQueues } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import { HostError } from 'virtio/errors';
import { AdaptivePolling, type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { exitStatus, refused, usage } from '../exit-status.ts';
import type { DeviceServer } from '../lend/lending.ts';
import { deviceServer } from '../lend/server.ts';
import { formatJson, type Output } from '../output.ts';
import { Report } from '../run/report.ts';
import type { TraceWriter } from '../run/trace-writer.ts';
import type { ServeArguments } from './arguments.ts';
import { qemuArguments, shellWords, umlArgument } from './attach.ts';
import { planServe, type ServePlan, typeNamed } from './plan.ts';
import type { ReadyDevice } from './ready-device.ts';
import { servedType } from './served-types.ts';

/** The most errors of drivers that are shown; a guest can cause any number of them. */
const mostErrors = 8;

/**
 * `virtio serve`: answers the exit status. It runs until it is told to end, or with `--once` until the first front end
 * leaves.
 *
 * @param stop tells it to end; SIGTERM, SIGINT and SIGHUP unless told
 */
export async function serveCommand(
  name: string,
  args: ServeArguments,
  output: Output,
  stop: (end: () => void) => () => void = onSignals,
): Promise<number> {
  if (args.printCapabilities) {
    // Other options are to be ignored then.
    output.out(`${JSON.stringify(servedType(typeNamed(name)).backend, undefined, 2)}\n`);
    return exitStatus.ok;
  }
  const plan = planServe(name, args);
  if (args.printQemuArgs) {
    const words = qemuArguments(plan);
    if (words === undefined)
      throw usage(
        '--print-qemu-args needs --socket-path PATH: QEMU cannot be told of a descriptor of this program',
      );
    output.out(args.json ? formatJson({ args: words }) : `${shellWords(words)}\n`);
    return exitStatus.ok;
  }
  const server = new Server(plan, new Report(output, plan.json, false));
  return server.run(stop);
}

/** One device at one socket, for one front end after the other. */
class Server {
  readonly #plan: ServePlan;
  readonly #report: Report;
  readonly #shown = new Set<string>();
  #trace: TraceWriter | undefined;
  #ready: ReadyDevice | undefined;
  #listening: Listening | undefined;
  #server: DeviceServer | undefined;
  #isClosing = false;
  #end: (status: number) => void = () => {};

  constructor(plan: ServePlan, report: Report) {
    this.#plan = plan;
    this.#report = report;
  }

  async run(stop: (end: () => void) => () => void): Promise<number> {
    const ended = new Promise<number>((resolve) => {
      this.#end = resolve;
    });
    const release = stop(() => this.#end(exitStatus.ok));
    // A reader of our output that went away is no reason to end.
    for (const stream of [process.stdout, process.stderr]) stream.off('error', ignore).on('error', ignore);
    const { type, trace, at } = this.#plan;
    try {
      const { make } = await servedType(type).load();
      const making = make(this.#plan, {
        onError: (error) => this.#show(error),
        notice: (message) => this.#report.notice(`${type}: ${message}`),
      });
      // A server far away may never answer: whoever ends this program need not wait for it.
      const ready = await Promise.race([making, ended]);
      if (typeof ready === 'number') {
        making.then((late) => late.close()).catch(ignore);
        return ready;
      }
      this.#ready = ready;
      if (trace !== undefined) {
        const bus = this.#plan.vfioUser === undefined ? 'vhost-user' : 'vfio-user';
        const { TraceWriter } = await import('../run/trace-writer.ts');
        this.#trace = new TraceWriter(trace, [{ name: type, device: ready.device }], bus);
      }
      const server = await this.#makeServer(ready);
      this.#server = server;
      this.#listening = listenAt(at, (channel) => server.serve(channel));
      this.#greet();
      return await ended;
    } finally {
      release();
      await this.#close();
    }
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    this.#listening?.close();
    this.#server?.close();
    this.#trace?.close();
    await this.#ready?.close();
    if (this.#trace?.error !== undefined) throw this.#trace.error;
  }

  #greet(): void {
    const { type, at } = this.#plan;
    const place = typeof at === 'number' ? `descriptor ${at}` : at;
    const qemu = qemuArguments(this.#plan);
    const uml = umlArgument(this.#plan);
    this.#report.event({
      event: 'listening',
      type: type,
      at,
      ...(qemu === undefined ? {} : { qemu }),
      ...(uml === undefined ? {} : { uml }),
    });
    this.#report.say(`${type} at ${place}; Ctrl-C ends it`);
    for (const line of this.#ready?.lines ?? []) this.#report.say(`  ${line}`);
    if (qemu !== undefined) this.#report.say(`  QEMU: ${shellWords(qemu)}`);
    if (uml !== undefined) this.#report.say(`  user-mode Linux: ${uml}`);
  }

  #makeServer({ device }: ReadyDevice): Promise<DeviceServer> {
    const { type, packed, inflight, vfioUser, sealedMemory } = this.#plan;
    return deviceServer(device, {
      host: new NodeDescriptors({ onlySealed: sealedMemory }),
      pci: vfioUser,
      packed,
      inflight,
      polling: pollQueues(new AdaptivePolling()),
      trace: this.#trace?.tracer(type),
      onConnected: () => this.#report.event({ event: 'connected' }),
      onDisconnected: (error) => {
        if (!this.#isClosing) this.#left(error);
      },
      onError: (error, needsReset) => {
        // What a driver does and a device lives with is for the trace.
        if (needsReset || error instanceof HostError) this.#show(error);
      },
    });
  }

  #left(error: VirtioError | undefined): void {
    this.#report.event({ event: 'disconnected', ...(error === undefined ? {} : { message: error.message }) });
    if (error !== undefined) this.#show(error);
    const isLast = this.#plan.once || this.#listening?.single === true;
    if (!isLast) return;
    // Nobody else is served: who waits is turned away at once.
    this.#isClosing = true;
    this.#server?.close();
    this.#end(exitStatus.ok);
  }

  #show(error: VirtioError): void {
    const text = `${this.#plan.type}: ${error.message}`;
    if (this.#shown.size >= mostErrors || this.#shown.has(text)) return;
    this.#shown.add(text);
    const cause =
      error instanceof HostError && error.cause instanceof Error ? ` (${error.cause.message})` : '';
    this.#report.notice(`${text}${cause}`);
  }
}

const ignore = (): void => {};

function listenAt(at: ServePlan['at'], onConnection: (channel: Channel) => void): Listening {
  try {
    return listenUnix(at, onConnection);
  } catch (error) {
    throw refused(error, typeof at === 'number' ? `--fd ${at}:` : '--socket-path:');
  }
}

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

function onSignals(end: () => void): () => void {
  for (const signal of signals) process.on(signal, end);
  return () => {
    for (const signal of signals) process.off(signal, end);
  };
}
