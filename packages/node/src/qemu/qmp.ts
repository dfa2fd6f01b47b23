import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import { closed } from './qtest.ts';

interface Command {
  readonly name: string;
  resolve(value: unknown): void;
  reject(error: HostError): void;
}

const longestLine = 1 << 24;

/** QEMU's machine protocol: commands as JSON, one under way at a time or several, answered in order. Events are left out. */
export class Qmp {
  readonly #socket: Socket;
  readonly #commands: Command[] = [];
  #received = '';
  #failure: HostError | undefined;

  private constructor(socket: Socket, whyClosed: () => Promise<HostError>) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', () => {}); // it is closed as well
    socket.on('close', () => void whyClosed().then((error) => this.fail(error)));
  }

  /**
   * Speaks over a connection that QEMU has made, and that nothing was read from.
   *
   * @param whyClosed asked when QEMU closes it
   */
  static async start(socket: Socket, whyClosed: () => Promise<HostError> = closed): Promise<Qmp> {
    const qmp = new Qmp(socket, whyClosed);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /**
   * Has QEMU execute a command, and answers what it returns: anything, to be looked at with care.
   *
   * @throws {HostError} IO_ERROR with QEMU's words when it fails, DEVICE_GONE when QEMU is gone.
   */
  execute(name: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#commands.push({ name, resolve, reject });
      const command = args === undefined ? { execute: name } : { execute: name, arguments: args };
      this.#socket.write(`${JSON.stringify(command)}\n`);
    });
  }

  /** Ends everything that is under way with an error, the first that is given. Answers that one. */
  fail(error: HostError): HostError {
    this.#failure ??= error;
    this.#socket.destroy();
    for (const { reject } of this.#commands.splice(0)) reject(this.#failure);
    return this.#failure;
  }

  #misbehaved(what: string): HostError {
    return this.fail(new HostError('DEVICE_GONE', what));
  }

  #receive(text: string): void {
    const lines = (this.#received + text).split('\n');
    this.#received = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
    if (this.#received.length > longestLine) this.#misbehaved('QEMU sent a line without end');
  }

  #take(line: string): void {
    const message = objectOf(line);
    if (message === undefined)
      return void this.#misbehaved(`QEMU said "${line.slice(0, 80)}", which is no QMP`);
    if ('QMP' in message || 'event' in message) return;
    const command = this.#commands.shift();
    if (command === undefined) return void this.#misbehaved('QEMU answered a command that was not given');
    if ('return' in message) {
      command.resolve(message.return);
      return;
    }
    const words = JSON.stringify(message.error ?? message).slice(0, 1000);
    command.reject(new HostError('IO_ERROR', `QEMU cannot do ${command.name}: ${words}`));
  }
}

function objectOf(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null) return undefined;
    return Object.fromEntries(Object.entries(value));
  } catch {
    return undefined; // said by the caller, with the line
  }
}
