import type { Channel } from 'virtio/channel';
import { pollQueues, tracing } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import { HostError } from 'virtio/errors';
import { VhostUserBackend } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { AdaptivePolling, type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { exitStatus } from '../exit-status.ts';
import { formatJson, type Output } from '../output.ts';
import { Report } from '../run/report.ts';
import { TraceWriter } from '../run/trace-writer.ts';
import type { ServeArguments } from './arguments.ts';
import { qemuArguments, shellWords, umlArgument } from './attach.ts';
import { planServe, type ServePlan, typeNamed } from './plan.ts';
import { type ReadyDevice, servedType } from './served-types.ts';
import { servePci } from './vfio-user.ts';

/** Connections that wait for the one that is served. */
const mostWaiting = 8;
/** The most errors of drivers that are shown; a guest can cause any number of them. */
const mostErrors = 8;
/** Milliseconds between two looks at a queue whose driver does not kick. */
const pollInterval = 1;

/**
 * `virtio serve`: answers the exit status. It runs until it is told to end, or with `--once` until the first front end
 * leaves.
 *
 * @param stop tells it to end; SIGTERM and SIGINT unless told
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
    output.out(args.json ? formatJson({ args: qemuArguments(plan) ?? null }) : qemuText(plan));
    return exitStatus.ok;
  }
  const server = new Server(plan, new Report(output, plan.json, false));
  return server.run(stop);
}

function qemuText(plan: ServePlan): string {
  const args = qemuArguments(plan);
  if (args !== undefined) return `${shellWords(args)}\n`;
  const why =
    typeof plan.at === 'number'
      ? 'it was given a descriptor'
      : `it has no front end of its own for ${plan.type}`;
  return `QEMU cannot be told on its command line: ${why}\n`;
}

/** One device at one socket, for one front end after the other. */
class Server {
  readonly #plan: ServePlan;
  readonly #report: Report;
  readonly #host = new NodeDescriptors();
  readonly #polling = pollQueues(new AdaptivePolling());
  readonly #shown = new Set<string>();
  readonly #waiting: Channel[] = [];
  #trace: TraceWriter | undefined;
  #ready: ReadyDevice | undefined;
  #listening: Listening | undefined;
  #backend: VhostUserBackend | undefined;
  /** Serves all connections itself, where the device is lent as a PCI function. */
  #pci: ReturnType<typeof servePci> | undefined;
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
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
    const { type, trace, at } = this.#plan;
    try {
      const ready = await servedType(type).make(this.#plan, {
        onError: (error) => this.#show(error),
        notice: (message) => this.#report.notice(`${type}: ${message}`),
      });
      this.#ready = ready;
      if (trace !== undefined) {
        const bus = this.#plan.vfioUser === undefined ? 'vhost-user' : 'vfio-user';
        this.#trace = new TraceWriter(trace, [{ name: type, device: ready.device }], bus);
      }
      this.#pci = this.#makePci(ready);
      this.#listening = listenUnix(at, (channel) => this.#connected(channel));
      this.#greet();
      return await ended;
    } finally {
      release();
      await this.#close();
    }
  }

  async #close(): Promise<void> {
    this.#listening?.close();
    for (const channel of this.#waiting.splice(0)) channel.close();
    const backend = this.#backend;
    this.#backend = undefined;
    backend?.close();
    const pci = this.#pci;
    this.#pci = undefined;
    pci?.close();
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

  #makePci({ device }: ReadyDevice): ReturnType<typeof servePci> | undefined {
    const { type, vfioUser } = this.#plan;
    if (vfioUser === undefined) return undefined;
    return servePci(device, vfioUser, this.#plan, {
      host: this.#host,
      polling: this.#polling,
      trace: this.#trace?.tracer(type),
      onConnected: () => this.#report.event({ event: 'connected' }),
      onDisconnected: (error) => {
        if (this.#pci !== undefined) this.#left(error);
      },
      onError: (error) => this.#show(error),
    });
  }

  #connected(channel: Channel): void {
    if (this.#pci !== undefined) this.#pci.serve(channel);
    else if (this.#backend === undefined) this.#serve(channel);
    else if (this.#waiting.length < mostWaiting) this.#waiting.push(channel);
    else channel.close();
  }

  #serve(channel: Channel): void {
    const { type, packed, inflight } = this.#plan;
    const ready = this.#ready;
    if (ready === undefined) return;
    this.#report.event({ event: 'connected' });
    this.#backend = new VhostUserBackend(ready.device, channel, this.#host, {
      packedRing: packed ? packedRing : undefined,
      without: inflight ? [] : ['INFLIGHT_SHMFD'],
      poll,
      polling: this.#polling,
      trace: this.#trace && tracing(this.#trace.tracer(type)),
      onError: (error, needsReset) => {
        // What a driver does and a device lives with is for the trace.
        if (needsReset || error instanceof HostError) this.#show(error);
      },
      onClosed: (error) => this.#disconnected(error),
    });
  }

  #disconnected(error: VirtioError | undefined): void {
    const isLast = this.#left(error);
    if (this.#backend === undefined) return;
    this.#backend = undefined;
    if (isLast) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#serve(next);
  }

  /** True when nobody else will be served. */
  #left(error: VirtioError | undefined): boolean {
    this.#report.event({ event: 'disconnected', ...(error === undefined ? {} : { message: error.message }) });
    if (error !== undefined) this.#show(error);
    const isLast = this.#plan.once || this.#listening?.single === true;
    if (isLast) this.#end(exitStatus.ok);
    return isLast;
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

const signals = ['SIGTERM', 'SIGINT'] as const;

function onSignals(end: () => void): () => void {
  for (const signal of signals) process.on(signal, end);
  return () => {
    for (const signal of signals) process.off(signal, end);
  };
}

function poll(look: () => void): () => void {
  const timer = setInterval(look, pollInterval);
  return () => clearInterval(timer);
}
