import { randomBytes } from 'node:crypto';
import {
  type ConsoleDevice,
  type ConsoleOptions,
  consoleDevice,
  type PortOptions,
} from 'virtio/devices/console';
import type { VirtioError } from 'virtio/errors';
import { controlPort, GuestMessages, type Instruction, instructionLines } from 'virtio-node/guests';

/** What a guest has of its console. */
export interface SessionOptions {
  /** Ports of the console beside its terminal and the control port. */
  readonly ports?: readonly PortOptions[];
  /** What else the console is told. */
  readonly console?: ConsoleOptions;
}

/** How a command in the guest ended. */
export interface Executed {
  readonly status: number;
  /** What it wrote to its terminal: standard output and errors, unchanged. */
  readonly output: Buffer;
}

/** The longest that a guest may say nothing at all while something is awaited, in milliseconds. */
const patience = 150_000;

/**
 * A machine with Debian's kernel and our devices. Commands run in it over the console device: their output is the
 * terminal's, the guest's init takes its orders at the control port.
 */
export abstract class ConsoleSession {
  readonly console: ConsoleDevice;
  /** What the devices complained of since the guest was ready. */
  readonly errors: VirtioError[] = [];
  /** What the kernel said on its own console. */
  kernelLog = '';
  readonly #messages = new GuestMessages();
  #status: number | undefined;
  #readySeen = 0;
  #lastSign = Date.now();
  #output: Buffer[] = [];
  #failure: Error | undefined;
  readonly #changes = new Set<() => void>();

  protected constructor(options: SessionOptions) {
    this.console = consoleDevice({
      ...options.console,
      onData: (bytes) => {
        this.#output.push(Buffer.from(bytes));
        this.#sign();
      },
      ports: [{ name: controlPort, onData: (bytes) => this.#control(bytes) }, ...(options.ports ?? [])],
    });
  }

  abstract stop(): Promise<void>;

  /** For a machine: what the kernel said on its own console. */
  protected heard(text: string): void {
    this.kernelLog += text;
    this.#sign();
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
      if (this.#failure !== undefined) throw this.#failure;
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

  /** For a machine: it has come to an end, and nothing will happen any more. */
  protected failed(error: Error): void {
    this.#failure = error;
    this.#sign();
  }

  #sign(): void {
    this.#lastSign = Date.now();
    for (const wake of this.#changes) wake();
  }
}
