import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';

interface Request<A> {
  resolve(answer: A): void;
  reject(error: HostError): void;
}

/** What a protocol over a connection that QEMU has made, and that nothing was read from, is made of. */
export interface RequestsOptions {
  readonly encoding: 'latin1' | 'utf8';
  /** Takes what comes, cut anywhere. */
  received(text: string): void;
  /** Asked when QEMU closes the connection. */
  readonly whyClosed: () => Promise<HostError>;
}

/** Requests to QEMU that are answered in their order. When QEMU is gone, every one rejects with HostError DEVICE_GONE. */
export class Requests<A> {
  readonly #socket: Socket;
  readonly #encoding: 'latin1' | 'utf8';
  readonly #waiting: Request<A>[] = [];
  #failure: HostError | undefined;

  constructor(socket: Socket, { encoding, received, whyClosed }: RequestsOptions) {
    this.#socket = socket;
    this.#encoding = encoding;
    socket.setEncoding(encoding);
    socket.on('data', received);
    socket.on('error', () => {}); // it is closed as well
    socket.on('close', () => void whyClosed().then((error) => this.fail(error)));
  }

  /** Sends a request, at once and before this returns. */
  send(text: string): Promise<A> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#waiting.push({ resolve, reject });
      this.#socket.write(text, this.#encoding);
    });
  }

  /** Sends what nobody answers. */
  say(text: string): void {
    this.#socket.write(text, this.#encoding);
  }

  /** Answers the oldest request. False when there is none. */
  answer(answer: A): boolean {
    const request = this.#waiting.shift();
    request?.resolve(answer);
    return request !== undefined;
  }

  /** Ends everything that is under way with an error, the first that is given. Answers that one. */
  fail(error: HostError): HostError {
    this.#failure ??= error;
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    return this.#failure;
  }

  /** The same where QEMU does not keep to its protocol. */
  misbehaved(what: string): HostError {
    return this.fail(new HostError('DEVICE_GONE', what));
  }
}

/** Takes lines out of what comes cut anywhere; a line longer than `longest` characters is `endless`. */
export function lineTaker(
  longest: number,
  take: (line: string) => void,
  endless: () => void,
): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
    if (rest.length > longest) endless();
  };
}

/** Why a connection has ended, where nobody knows more. */
export async function closed(): Promise<HostError> {
  return new HostError('DEVICE_GONE', 'QEMU closed the connection');
}
