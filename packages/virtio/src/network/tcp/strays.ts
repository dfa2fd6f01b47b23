import type { HeaderFields } from './header.ts';
import type { TcpAddress } from './interface.ts';
import type { Output } from './output.ts';

/** A segment that belongs to no connection: a reset. */
export interface Stray {
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
  /** The sum of the addresses and the protocol. */
  readonly pseudoHeader: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
}

/** Resets that wait to be sent; what comes beyond is lost, as anything may be, and asked for again. */
const most = 256;

/** The resets that wait to be sent. */
export class Strays {
  readonly #output: Output;
  readonly #waiting: Stray[] = [];

  constructor(output: Output) {
    this.#output = output;
  }

  get empty(): boolean {
    return this.#waiting.length === 0;
  }

  add(stray: Stray): void {
    if (this.#waiting.length < most) this.#waiting.push(stray);
  }

  /** False when there was none. */
  sendOne(): boolean {
    const stray = this.#waiting.shift();
    if (stray === undefined) return false;
    const { local, remote, pseudoHeader, sequence, acknowledgment, flags } = stray;
    const fields: HeaderFields = {
      sourcePort: local.port,
      destinationPort: remote.port,
      sequence,
      acknowledgment,
      flags,
      window: 0,
    };
    this.#output.stray(local.address, remote.address, pseudoHeader, fields);
    return true;
  }
}
