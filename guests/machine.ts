import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { V86, type V86Options } from 'v86';
import type { Device, Tracer } from 'virtio/device';
import {
  type ConsoleDevice,
  type ConsoleOptions,
  consoleDevice,
  type PortOptions,
} from 'virtio/devices/console';
import type { VirtioError } from 'virtio/errors';
import {
  controlPort,
  GuestMessages,
  guestCommandLine,
  guestFiles,
  type Instruction,
  instructionLines,
  mmioGuest,
  withAcpiTables,
} from 'virtio-node/guests';
import { type Attachment, attach, type Bus, mmioTable, pci, reloadOnReboot } from 'virtio-v86';

/** What a test machine has beside a console. */
export interface MachineOptions {
  /** Where all devices are; modern PCI unless told. */
  readonly bus?: Bus;
  /** Attached behind the console, in this order. */
  readonly devices?: readonly Device[];
  /** Ports of the console beside its terminal and the control port. */
  readonly ports?: readonly PortOptions[];
  /** What else the console is told. */
  readonly console?: ConsoleOptions;
  /** Kernel modules in the guest beside those it loads at boot. */
  readonly modules?: readonly string[];
  /** Added to the kernel's command line. */
  readonly append?: string;
  /** What v86 is told beside the guest's files. */
  readonly v86?: Partial<V86Options>;
  readonly trace?: Tracer;
}

/** How a command in the guest ended. */
export interface Executed {
  readonly status: number;
  /** What it wrote to its terminal: standard output and errors, unchanged. */
  readonly output: Buffer;
}

/** The longest that a guest may say nothing at all while something is awaited, in milliseconds. */
const patience = 60_000;

/**
 * A v86 machine with Debian's kernel and our devices. Commands run in it over the console device: their output
 * is the terminal's, the guest's init takes its orders at the control port.
 */
export class Machine {
  readonly emulator: V86;
  readonly console: ConsoleDevice;
  readonly attachments: readonly Attachment[];
  /**
   * What the devices complained of since the guest was ready. Before, it is SeaBIOS that drives the disk: it sets
   * ACKNOWLEDGE and DRIVER in one write.
   */
  readonly errors: VirtioError[] = [];
  /** What the kernel said on the serial port. */
  kernelLog = '';
  readonly #messages = new GuestMessages();
  #status: number | undefined;
  #readySeen = 0;
  #lastSign = Date.now();
  #output: Buffer[] = [];
  readonly #changes = new Set<() => void>();

  private constructor(emulator: V86, options: MachineOptions) {
    this.emulator = emulator;
    emulator.add_listener('serial0-output-byte', (byte) => {
      this.kernelLog += String.fromCharCode(byte);
      this.#sign();
    });
    this.console = consoleDevice({
      ...options.console,
      onData: (bytes) => {
        this.#output.push(Buffer.from(bytes));
        this.#sign();
      },
      ports: [{ name: controlPort, onData: (bytes) => this.#control(bytes) }, ...(options.ports ?? [])],
    });
    this.attachments = [this.console, ...(options.devices ?? [])].map((device) =>
      attach(emulator, device, {
        bus: options.bus ?? pci(),
        onError: (error) => void this.errors.push(error),
        ...(options.trace === undefined ? {} : { trace: options.trace }),
      }),
    );
  }

  /** A machine that stands before its first instruction. */
  static async create(options: MachineOptions = {}): Promise<Machine> {
    const guest = await guestFiles({
      modules: options.modules ?? [],
      progress: ({ step, detail }) => void process.stderr.write(`${step} ${detail}\n`),
    });
    const library = dirname(createRequire(import.meta.url).resolve('v86'));
    const image = async (path: string): Promise<{ buffer: ArrayBuffer }> => ({
      buffer: new Uint8Array(await readFile(path)).buffer,
    });
    const mmio = isMmio(options);
    const emulator = new V86({
      wasm_path: join(library, 'v86.wasm'),
      memory_size: 256 << 20,
      vga_memory_size: 1 << 20,
      bios: await image(guest.bios),
      vga_bios: await image(guest.vgaBios),
      bzimage: await image(guest.bzimage),
      initrd: mmio ? await withWindows(guest.initrd, options) : await image(guest.initrd),
      cmdline: [guestCommandLine, ...(mmio ? [mmioGuest] : []), options.append ?? ''].join(' '),
      acpi: mmio,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      ...options.v86,
    });
    const machine = new Machine(emulator, options);
    await Promise.all([reloadOnReboot(emulator), ...machine.attachments.map(({ ready }) => ready)]);
    return machine;
  }

  /** A machine whose guest waits for commands. */
  static async boot(options: MachineOptions = {}): Promise<Machine> {
    const machine = await Machine.create(options);
    const ready = machine.ready();
    await machine.emulator.run();
    await ready;
    return machine;
  }

  /** A machine of these options that goes on from a saved state. */
  static async resume(state: ArrayBuffer, options: MachineOptions = {}): Promise<Machine> {
    const machine = await Machine.create(options);
    await machine.emulator.restore_state(state.slice(0));
    await machine.emulator.run();
    return machine;
  }

  /** Waits until the guest's init says that it is ready, from now on. */
  ready(): Promise<void> {
    const before = this.#readySeen;
    return this.until(() => this.#readySeen > before, 'the guest to become ready');
  }

  /** Waits for something; fails when the guest is silent for too long. */
  async until(condition: () => boolean, what: string): Promise<void> {
    this.#lastSign = Date.now();
    while (!condition()) {
      if (Date.now() - this.#lastSign > patience) {
        const said = [
          this.kernelLog.slice(-2000),
          this.output.toString().slice(-2000),
          ...this.errors.map(String),
        ];
        throw new Error(`waited for ${what}; kernel, terminal and devices said:\n${said.join('\n')}`);
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#changes.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, 200);
        this.#changes.add(wake);
      });
    }
  }

  /** Runs a command in the guest. One runs at a time. */
  async exec(command: string): Promise<Executed> {
    await this.instruct({ type: 'exec', command });
    return this.ended(command);
  }

  /** Has the guest start a command or a shell; `ended` waits for its end. */
  instruct(instruction: Instruction): Promise<void> {
    this.#output = [];
    this.#status = undefined;
    const lines = instructionLines(instruction, Date.now() / 1000, randomBytes(32));
    return this.console.port(controlPort).write(lines);
  }

  async ended(what: string): Promise<Executed> {
    await this.until(() => this.#status !== undefined, `an end of ${what.slice(0, 200)}`);
    return { status: this.#status ?? -1, output: this.output };
  }

  /** Has the guest reboot, and waits until it is ready again. */
  async reboot(): Promise<void> {
    const again = this.ready();
    await this.instruct({ type: 'exec', command: 'reboot -f' });
    await again;
  }

  /** The output of a command that has to succeed, as text without its last line feed. */
  async text(command: string): Promise<string> {
    const { status, output } = await this.exec(command);
    if (status !== 0) throw new Error(`${command} ended with ${status}: ${output.toString()}`);
    return output.toString().replace(/\n$/, '');
  }

  /** What the terminal has shown since the last command began. */
  get output(): Buffer {
    return Buffer.concat(this.#output);
  }

  async stop(): Promise<void> {
    await this.emulator.stop();
    for (const attachment of this.attachments) attachment.detach();
    await this.emulator.destroy();
  }

  #control(bytes: Uint8Array): void {
    for (const message of this.#messages.push(bytes)) {
      if (message.type === 'ready') {
        this.#readySeen++;
        this.errors.length = 0;
      }
      if (message.type === 'exit') this.#status = message.status;
    }
    this.#sign();
  }

  #sign(): void {
    this.#lastSign = Date.now();
    for (const wake of this.#changes) wake();
  }
}

function isMmio({ bus }: MachineOptions): boolean {
  return bus?.name.startsWith('mmio') === true;
}

/** The initramfs, and ahead of it the table that tells of a window for each device. */
async function withWindows(
  initrd: string,
  { devices = [] }: MachineOptions,
): Promise<{ buffer: ArrayBuffer }> {
  const tables = [{ name: 'windows', data: mmioTable(1 + devices.length) }];
  return { buffer: new Uint8Array(withAcpiTables(tables, await readFile(initrd))).buffer };
}
