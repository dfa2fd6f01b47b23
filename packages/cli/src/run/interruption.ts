import { constants } from 'node:os';
import { type Deferred, deferred } from './deferred.ts';
import type { Ending } from './ending.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * Whatever ends a run from outside the guest: a signal, a reader of our output that went away, a fault in the
 * emulator. While one is held these no longer end the process, so that disks and terminal can be put in order;
 * a second signal does at once.
 */
export class Interruption {
  readonly #ended: Deferred<Ending> = deferred();
  #signalled = false;

  constructor() {
    for (const signal of signals) process.on(signal, this.#onSignal);
    process.on('uncaughtException', this.#onError);
    process.stdout.on('error', this.#onOutputError);
    process.stderr.on('error', this.#onOutputError);
  }

  /** Settles with the first reason to end; rejects with a fault. */
  get ended(): Promise<Ending> {
    return this.#ended.promise;
  }

  /** Lets signals and faults end the process again. */
  release(): void {
    for (const signal of signals) process.off(signal, this.#onSignal);
    process.off('uncaughtException', this.#onError);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const number = constants.signals[signal];
    if (this.#signalled) process.exit(128 + number);
    this.#signalled = true;
    this.#ended.resolve({ kind: 'signal', signal, number });
  };

  readonly #onError = (error: unknown): void => this.#ended.reject(error);

  readonly #onOutputError = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE' || error.code === 'EIO') this.#ended.resolve({ kind: 'unread' });
    else this.#ended.reject(error);
  };
}
