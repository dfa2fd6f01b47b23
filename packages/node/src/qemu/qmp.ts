import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import { closed, lineTaker, Requests } from './requests.ts';

type Message = Readonly<Record<string, unknown>>;

const longestLine = 1 << 24;

/** QEMU's machine protocol: commands as JSON, one under way at a time or several, answered in order. Events are left out. */
export class Qmp {
  readonly #commands: Requests<Message>;

  private constructor(socket: Socket, whyClosed: () => Promise<HostError>) {
    const endless = (): void => void this.#commands.misbehaved('QEMU sent a line without end');
    const received = lineTaker(longestLine, (line) => this.#take(line), endless);
    this.#commands = new Requests(socket, { encoding: 'utf8', received, whyClosed });
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
  async execute(name: string, args?: Message): Promise<unknown> {
    const command = args === undefined ? { execute: name } : { execute: name, arguments: args };
    const answer = await this.#commands.send(`${JSON.stringify(command)}\n`);
    if ('return' in answer) return answer.return;
    const words = JSON.stringify(answer.error ?? answer).slice(0, 1000);
    throw new HostError('IO_ERROR', `QEMU cannot do ${name}: ${words}`);
  }

  /** Ends everything that is under way with an error, the first that is given. Answers that one. */
  fail(error: HostError): HostError {
    return this.#commands.fail(error);
  }

  #take(line: string): void {
    const message = objectOf(line);
    if (message === undefined)
      return void this.#commands.misbehaved(`QEMU said "${line.slice(0, 80)}", which is no QMP`);
    if ('QMP' in message || 'event' in message) return;
    if (!this.#commands.answer(message))
      this.#commands.misbehaved('QEMU answered a command that was not given');
  }
}

function objectOf(line: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null) return undefined;
    return Object.fromEntries(Object.entries(value));
  } catch {
    return undefined; // said by the caller, with the line
  }
}
