import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { HostError } from 'virtio/errors';
import { GuestMessages, instructionLines } from './control.ts';
import type { NativeGuest } from './native-guest.ts';

/** How a command in the guest ended. */
export interface Executed {
  /** 0–255, above 128 for a signal. */
  readonly status: number;
  /** What it wrote, standard output and errors, unchanged. */
  readonly output: Buffer;
}

/** Milliseconds: far more than anything here takes on a machine with much else to do. */
const patience = 120_000;

/**
 * Commands in a guest, one at a time, over two of its serial ports: the first is the control channel, the second the
 * terminal. {@link serialPorts} tells the guest of them.
 */
export class GuestSession {
  readonly #guest: NativeGuest;
  readonly #messages = new GuestMessages();
  #output: Buffer[] = [];
  #readySeen = 0;
  #status: number | undefined;
  #gone: HostError | undefined;
  #wake: () => void = () => {};

  constructor(guest: NativeGuest) {
    this.#guest = guest;
    const [control, terminal] = guest.ports;
    control?.on('data', (bytes: Buffer) => {
      for (const message of this.#messages.push(bytes)) {
        if (message.type === 'ready') this.#readySeen++;
        if (message.type === 'exit') this.#status = message.status;
      }
      this.#wake();
    });
    terminal?.on('data', (bytes: Buffer) => void this.#output.push(bytes));
    void guest.ended.then((error) => {
      this.#gone = error;
      this.#wake();
    });
  }

  /**
   * Waits until the guest has booted and takes commands.
   *
   * @param limit milliseconds that this may take
   * @throws HostError `GUEST_FAILED` when it ends before, or takes longer.
   */
  async ready(limit: number = patience): Promise<void> {
    await this.#until(() => this.#readySeen > 0, limit, 'become ready');
  }

  /**
   * Runs a command with `/bin/sh -c` to its end.
   *
   * @param limit milliseconds that it may take; after that the guest is of no more use
   * @throws HostError `GUEST_FAILED` when the guest ends before, or the command takes longer.
   */
  async exec(command: string, limit: number = patience): Promise<Executed> {
    this.#status = undefined;
    this.#output = [];
    this.#send(command);
    await this.#until(() => this.#status !== undefined, limit, `end ${command.slice(0, 200)}`);
    // All that the command wrote has left the guest by now, but two sockets are read in any order.
    for (let seen = -1; seen !== this.#output.length; ) {
      seen = this.#output.length;
      await setImmediate();
      await setImmediate();
    }
    return { status: this.#status ?? -1, output: Buffer.concat(this.#output) };
  }

  /**
   * The output of a command that has to succeed, as text without its last line feed.
   *
   * @throws HostError `GUEST_FAILED` with its output if it does not.
   */
  async text(command: string, limit?: number): Promise<string> {
    const { status, output } = await this.exec(command, limit);
    const text = output.toString().replace(/\n$/, '');
    if (status === 0) return text;
    throw new HostError('GUEST_FAILED', `${command} ended with ${status}: ${text}`);
  }

  /** Has the guest sync its disks and switch itself off, and waits until it has ended. */
  async powerOff(limit: number = patience): Promise<void> {
    this.#send('poweroff -f');
    await this.#until(() => this.#gone !== undefined, limit, 'switch itself off');
  }

  /** Waits until the guest has started itself anew and is ready again. */
  async reboot(limit: number = patience): Promise<void> {
    const before = this.#readySeen;
    this.#send('reboot -f');
    await this.#until(() => this.#readySeen > before, limit, 'start anew');
  }

  #send(command: string): void {
    const [control] = this.#guest.ports;
    control?.write(instructionLines({ type: 'exec', command }, Date.now() / 1000, randomBytes(32)));
  }

  async #until(condition: () => boolean, limit: number, what: string): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, limit);
    try {
      while (!condition()) {
        if (this.#gone !== undefined) {
          throw new HostError('GUEST_FAILED', this.#gone.message, { cause: this.#gone });
        }
        if (late) throw new HostError('GUEST_FAILED', `the guest did not ${what} in time: ${this.#said()}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #said(): string {
    return `${Buffer.concat(this.#output).toString().slice(-2000)}\n${this.#guest.kernelLog}`;
  }
}
