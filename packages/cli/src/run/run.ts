import { join } from 'node:path';
import type { Tracer } from 'virtio/device';
import { macText } from 'virtio/devices/net';
import { HostError, type VirtioError } from 'virtio/errors';
import { cacheFolder } from 'virtio-node/guests';
import { makeNetDevice } from '../network/device.ts';
import { type OpenNetworks, openNetworks } from '../network/open.ts';
import { type Output, takesColour } from '../output.ts';
import { type OpenShare, openShares } from '../share/open.ts';
import type { RunArguments } from './arguments.ts';
import { closeDisks, type OpenDisk, openDisks } from './disks.ts';
import { type Ending, verdictOn } from './ending.ts';
import { runExec } from './exec.ts';
import { greeting } from './greeting.ts';
import { Guest, type GuestOptions } from './guest.ts';
import { drained, writeTo } from './host-streams.ts';
import { Interruption } from './interruption.ts';
import type { MachineImage } from './machine.ts';
import type { Reached } from './machines.ts';
import { planRun, type RunPlan } from './plan.ts';
import { Report } from './report.ts';
import { SavedStates } from './saved-states.ts';
import { runShell } from './shell.ts';
import { type OpenSockets, openSockets } from './sockets.ts';
import { startGuest } from './start-guest.ts';
import { RawTerminal } from './terminal.ts';
import { type NamedDevice, TraceWriter } from './trace-writer.ts';

/** What runs when nobody sits at a terminal and no command was given: a shell that reads its input. */
const pipedShell = 'exec sh -l';

/** The most device errors that are shown; a guest can cause any number of them. */
const mostErrors = 8;

/**
 * `virtio run`: answers the exit status. Whatever happens, it ends with the terminal as it was, the disks
 * flushed and closed, and the trace whole.
 */
export async function runCommand(args: RunArguments, output: Output): Promise<number> {
  const plan = await planRun(args);
  const report = new Report(output, plan.json);
  const held = await hold(plan, report);
  const interruption = new Interruption();
  const run = new Run(plan, held, report);
  const started = performance.now();
  try {
    const ending = await Promise.race([run.toEnd(), interruption.ended]);
    await run.close();
    const { status, notice } = verdictOn(ending, run.command !== undefined);
    report.event({ event: 'ended', kind: ending.kind, status, seconds: secondsSince(started) });
    if (notice !== undefined) report.notice(notice);
    return status;
  } finally {
    // The second of two closings does nothing; this one is for what was thrown.
    await run.close();
    interruption.release();
  }
}

/** What a run holds on this machine while it lasts. */
interface Held {
  readonly disks: readonly OpenDisk[];
  readonly sockets: OpenSockets | undefined;
  readonly shares: readonly OpenShare[];
  readonly networks: OpenNetworks;
}

/** Opens all of it, or nothing. */
async function hold(plan: RunPlan, report: Report): Promise<Held> {
  const { disks: diskPlans, vsock, shares: sharePlans, nets, capture } = plan;
  const disks = await openDisks(diskPlans);
  let sockets: OpenSockets | undefined;
  let shares: readonly OpenShare[] = [];
  try {
    sockets = await openSockets(vsock);
    shares = openShares(sharePlans, (tag, error) => report.notice(`share ${tag}: ${error.message}`));
    const networks = await openNetworks(nets, (plan) => makeNetDevice(plan), capture, {
      notice: (name, message) => report.notice(`${name}: ${message}`),
    });
    return { disks, sockets, shares, networks };
  } catch (error) {
    for (const share of shares) share.close();
    await sockets?.close();
    await closeDisks(disks);
    throw error;
  }
}

class Run {
  /** What is to be run instead of a shell on a terminal. */
  readonly command: string | undefined;
  readonly #plan: RunPlan;
  readonly #disks: readonly OpenDisk[];
  readonly #sockets: OpenSockets | undefined;
  readonly #shares: readonly OpenShare[];
  readonly #networks: OpenNetworks;
  readonly #report: Report;
  readonly #terminal = new RawTerminal();
  readonly #states = new SavedStates(join(cacheFolder(), 'states'));
  readonly #shownErrors = new Set<string>();
  #trace: TraceWriter | undefined;
  #guest: Guest | undefined;
  #saved: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;
  #consoleUsed = false;
  /** The guest's console is the command's standard output from the moment that it runs. */
  #outputIsData: boolean;

  constructor(plan: RunPlan, { disks, sockets, shares, networks }: Held, report: Report) {
    this.#plan = plan;
    this.#disks = disks;
    this.#sockets = sockets;
    this.#shares = shares;
    this.#networks = networks;
    this.#report = report;
    this.command = plan.exec ?? (process.stdin.isTTY ? undefined : pipedShell);
    this.#outputIsData = this.command === undefined;
  }

  /** Runs the machine, again if it restarts itself under a shell, until it ends. */
  async toEnd(): Promise<Ending> {
    const image = await this.#plan.machine.readImage(this.#plan, ({ detail, fraction }) =>
      this.#report.progress(detail, fraction),
    );
    this.#report.done();
    for (let fresh = this.#plan.fresh; ; fresh = true) {
      const ending = await this.#life(image, fresh);
      if (ending.kind !== 'reboot' || this.command !== undefined) return ending;
      this.#report.notice('the guest restarts');
      await this.#guest?.machine.destroy();
    }
  }

  /** Puts everything in order, once. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#terminal.leave();
    this.#report.done();
    try {
      await this.#guest?.machine.destroy();
    } finally {
      this.#trace?.close();
      await this.#networks.close();
      await this.#sockets?.close();
      for (const share of this.#shares) share.close();
      await closeDisks(this.#disks);
    }
    await this.#saved;
    await Promise.all([drained(process.stdout), drained(process.stderr)]);
    const error = this.#trace?.error ?? this.#networks.captureError;
    if (error !== undefined) throw error;
  }

  async #life(image: MachineImage, fresh: boolean): Promise<Ending> {
    const started = performance.now();
    const ticker = this.#showBoot(image, started);
    try {
      const start = await this.#start(image, fresh);
      this.#report.event({ event: 'started', start, seconds: secondsSince(started) });
    } finally {
      clearInterval(ticker);
      this.#report.done();
    }
    const guest = this.#guest;
    if (guest === undefined) throw new Error('a run has no guest');
    if (this.command !== undefined) {
      this.#outputIsData = true;
      return runExec(guest, this.command, process.stdin);
    }
    this.#greet(image);
    this.#report.rawTerminal = true;
    const ending = await runShell(guest, this.#terminal, (text) => process.stdout.write(text));
    this.#report.rawTerminal = false;
    return ending;
  }

  async #start(image: MachineImage, fresh: boolean): Promise<'cold' | 'warm'> {
    const options = this.#guestOptions(image);
    if (!image.ours) {
      this.#guest = await Guest.create(options);
      await this.#guest.machine.run();
      return 'cold';
    }
    const { start, saved } = await startGuest(options, this.#states, fresh, this.#report, (guest) => {
      this.#guest = guest;
    });
    this.#saved = saved;
    return start;
  }

  #guestOptions(image: MachineImage): GuestOptions {
    return {
      image,
      hasEntropy: this.#plan.machine.hasEntropy,
      storages: this.#disks.map(({ storage }) => storage),
      sockets: this.#sockets?.device,
      shares: this.#shares,
      onUnmounted: (tag) => this.#report.notice(`the guest could not mount ${tag} at /mnt/${tag}`),
      networks: this.#networks.networks.map(({ device }) => device),
      unaddressed: this.#networks.networks.flatMap(({ device, givesAddresses }) =>
        givesAddresses ? [] : [macText(device.config.mac)],
      ),
      onTerminal: (bytes) => {
        this.#consoleUsed = true;
        this.#terminal.watch(bytes);
        return writeTo(this.#outputIsData ? process.stdout : process.stderr, bytes);
      },
      onErrors: (bytes) => writeTo(process.stderr, bytes),
      onDeviceError: (device, error, needsReset) => {
        // What a driver does and a device lives with is for the trace: SeaBIOS is not strict, at each boot.
        if (needsReset || error instanceof HostError) this.#showError(device, error);
      },
      onKernelLine: (line) => {
        // A kernel that never finds our console would otherwise say nothing to anybody.
        if (process.env.VIRTIO_DEBUG || !(image.ours || this.#consoleUsed)) this.#report.say(line);
      },
      trace: (devices) => this.#tracers(devices),
    };
  }

  #tracers(devices: readonly NamedDevice[]): ((device: string) => Tracer) | undefined {
    const { trace } = this.#plan;
    if (trace === undefined) return undefined;
    this.#trace ??= new TraceWriter(trace, devices, this.#reached.name);
    const writer = this.#trace;
    return (device) => writer.tracer(device);
  }

  #showBoot({ name }: MachineImage, started: number): NodeJS.Timeout {
    return setInterval(() => {
      const seconds = secondsSince(started);
      // A warm start is over before anybody needs to be told.
      if (seconds >= 1) this.#report.progress(`booting ${name}`, undefined, `${Math.floor(seconds)} s`);
    }, 250);
  }

  get #reached(): Reached {
    return this.#plan.machine.reached(this.#plan.bus);
  }

  #greet({ name }: MachineImage): void {
    const disks = this.#disks.map(({ path, storage: { size, readOnly } }) => ({ path, size, readOnly }));
    const { hasEntropy } = this.#plan.machine;
    for (const line of greeting(
      {
        guest: name,
        bus: this.#reached.title,
        hasEntropy,
        disks,
        sockets: this.#sockets?.path,
        shares: this.#shares,
        networks: this.#networks.networks.map(({ lines }) => lines),
      },
      takesColour(process.stderr),
    ))
      this.#report.say(line);
  }

  #showError(device: string, error: VirtioError): void {
    const text = `${device}: ${error.message}`;
    if (this.#shownErrors.size >= mostErrors || this.#shownErrors.has(text)) return;
    this.#shownErrors.add(text);
    const cause =
      error instanceof HostError && error.cause instanceof Error ? ` (${error.cause.message})` : '';
    this.#report.notice(`${text}${cause}`);
  }
}

function secondsSince(start: number): number {
  return Math.round(performance.now() - start) / 1000;
}
