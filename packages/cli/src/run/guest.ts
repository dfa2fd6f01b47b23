import { randomBytes } from 'node:crypto';
import type { Device, Tracer } from 'virtio/device';
import type { Storage } from 'virtio/devices/blk';
import { HostError, type VirtioError } from 'virtio/errors';
import { consoleEvent, GuestMessages, type Instruction, instructionLines } from 'virtio-node/guests';
import type { OpenShare } from '../share/open.ts';
import { type Deferred, deferred } from './deferred.ts';
import type { Ending } from './ending.ts';
import { type GuestDevices, makeGuestDevices } from './guest-devices.ts';
import { GuestWindow } from './guest-window.ts';
import type { Machine, MachineImage } from './machine.ts';
import type { NamedDevice } from './trace-writer.ts';

/** What a guest is made of, and who hears it. */
export interface GuestOptions {
  readonly image: MachineImage;
  /** Whether the guest can use a source of randomness. */
  readonly hasEntropy: boolean;
  /** The socket device, if there is to be one. */
  readonly sockets: Device | undefined;
  readonly shares: readonly OpenShare[];
  /** A folder is not mounted in the guest that was to be. */
  readonly onUnmounted: (tag: string) => void;
  readonly networks: readonly Device[];
  /** The MAC addresses of those that nobody gives an address of IP. */
  readonly unaddressed: readonly string[];
  readonly storages: readonly Storage[];
  /** What the guest writes on our console; it waits while a promise is pending. */
  readonly onTerminal: (bytes: Uint8Array) => void | Promise<void>;
  /** What a command writes on its standard error. */
  readonly onErrors: (bytes: Uint8Array) => void | Promise<void>;
  readonly onDeviceError: (device: string, error: VirtioError, needsReset: boolean) => void;
  readonly onKernelLine: (line: string) => void;
  /** The tracer of each device, if anybody looks. */
  readonly trace: (devices: readonly NamedDevice[]) => ((device: string) => Tracer) | undefined;
}

const seedLength = 64;

/** One life of a machine, from its making to its end, and the conversation with the init in it. */
export class Guest {
  readonly machine: Machine;
  /** In the order in which they stand on the bus. */
  readonly devices: readonly NamedDevice[];
  readonly window: GuestWindow;
  readonly #devices: GuestDevices;
  readonly #shares: readonly OpenShare[];
  readonly #unaddressed: readonly string[];
  readonly #ready: Deferred<void>;
  readonly #ended: Deferred<Ending>;

  private constructor(
    machine: Machine,
    devices: GuestDevices,
    window: GuestWindow,
    ready: Deferred<void>,
    ended: Deferred<Ending>,
    { shares, unaddressed }: GuestOptions,
  ) {
    this.machine = machine;
    this.devices = devices.named;
    this.#devices = devices;
    this.window = window;
    this.#ready = ready;
    this.#ended = ended;
    this.#shares = shares;
    this.#unaddressed = unaddressed;
  }

  /** Makes a machine that does not run yet. */
  static async create(options: GuestOptions): Promise<Guest> {
    const ready = deferred<void>();
    const ended = deferred<Ending>();
    const messages = new GuestMessages();
    const control = (bytes: Uint8Array): void => {
      for (const message of messages.push(bytes)) {
        if (message.type === 'ready') ready.resolve();
        else if (message.type === 'unmounted') options.onUnmounted(message.tag);
        else if (message.type === 'size') window.understood(message);
        else if (message.type === 'exit') ended.resolve({ kind: 'exit', status: message.status });
      }
    };
    const devices = makeGuestDevices(
      options.storages,
      {
        terminal: options.onTerminal,
        errors: options.onErrors,
        control,
        diskError: (device, error) => options.onDeviceError(device, error, false),
      },
      options.hasEntropy,
      options.sockets,
      options.shares.map(({ device }) => device),
      options.networks,
    );
    const window = new GuestWindow(devices.terminal);
    const machine = await options.image.create(devices.named, {
      kernelLine: (line) => {
        options.onKernelLine(line);
        const kind = consoleEvent(line);
        if (kind !== undefined) ended.resolve({ kind, line });
      },
      deviceError: options.onDeviceError,
      gone: (error) => ended.reject(new HostError('GUEST_FAILED', error.message, { cause: error })),
      tracer: options.trace(devices.named),
    });
    return new Guest(machine, devices, window, ready, ended, options);
  }

  /** Settles when the init waits for an instruction; never does for an init that does not know of them. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Settles when the command or shell has ended, or the machine. */
  get ended(): Promise<Ending> {
    return this.#ended.promise;
  }

  /** Lets it run, from a state that was saved when the init waited for its instruction, or for its devices. */
  async resume(): Promise<void> {
    await this.machine.run();
    if (this.machine.plug === undefined) this.#ready.resolve();
    else await this.plug();
  }

  /** Puts its devices in, and waits until its init has found them; false when it has ended before. */
  async plug(): Promise<boolean> {
    await this.machine.plug?.();
    return this.#isReady();
  }

  /** Lets it run until its state can be saved; false when it has ended before. */
  async boot(): Promise<boolean> {
    const booted = this.machine.run().then(() => this.machine.plug !== undefined || this.#isReady());
    // A machine that ends while it boots never gets that far.
    return Promise.race([booted, this.ended.then(() => false)]);
  }

  async #isReady(): Promise<boolean> {
    return (await Promise.race([this.ready, this.ended])) === undefined;
  }

  /** Tells the waiting init what to do. */
  instruct(instruction: Instruction): void {
    const [now, seed] = [Date.now() / 1000, randomBytes(seedLength)];
    const lines = instructionLines(instruction, now, seed, this.#shares, this.#unaddressed);
    this.#devices.control.write(lines).catch(this.#ended.reject);
  }

  /** Keys for our console; false when the guest has not read for so long that they are not taken. */
  type(bytes: Uint8Array): boolean {
    if (this.#devices.terminal.waiting > typeAheadLimit) return false;
    this.#devices.terminal.write(bytes).catch(() => {});
    return true;
  }

  /** Input for the command; settles when the guest has taken it. */
  input(bytes: Uint8Array): Promise<void> {
    return this.#devices.input.write(bytes);
  }

  /** There is no more input for the command. */
  endInput(): void {
    this.#devices.input.close();
  }
}

const typeAheadLimit = 65_536;
