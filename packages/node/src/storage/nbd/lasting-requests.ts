import { setTimeout } from 'node:timers/promises';
import { HostError } from 'virtio/errors';
import { type Destination, dial, type Link } from './dial.ts';
import type { Export } from './handshake.ts';
import { command, transmissionFlag } from './protocol.ts';
import type { RequestSender } from './requests.ts';
import { WriteLog } from './write-log.ts';

/** Bytes of writes that are kept until they are flushed; then we flush by ourselves. */
const mostUnflushed = 64 * 2 ** 20;
/** Milliseconds between two attempts: at first, and at most. */
const [firstPause, longestPause] = [50, 1000];

const changes: readonly number[] = [command.WRITE, command.TRIM, command.WRITE_ZEROES];

/**
 * Requests that outlive their connection. When it breaks it is made again; writes that were answered and not flushed are
 * sent first, since a server that died may have forgotten them, then whatever was under way. A request fails when no
 * connection comes about in time, and then so does every later one.
 */
export class LastingRequests implements RequestSender {
  readonly found: Export;
  readonly #to: Destination;
  /** Milliseconds. */
  readonly #longest: number;
  readonly #keeps: boolean;
  readonly #log = new WriteLog(mostUnflushed);
  #link: Link | undefined;
  #restoring: { readonly link: Promise<Link>; readonly stop: AbortController } | undefined;
  #flushing: Promise<void> | undefined;
  #error: HostError | undefined;
  /** Attempts since a request was answered. */
  #attempts = 0;
  /** When the first of them began. */
  #since = 0;
  /** When there was a connection last. */
  #restoredAt = 0;

  private constructor(to: Destination, longest: number, found: Export) {
    this.#to = to;
    this.#longest = longest;
    this.found = found;
    this.#keeps = (found.flags & transmissionFlag.SEND_FLUSH) !== 0;
  }

  /**
   * @param longest milliseconds from when a connection breaks until requests fail.
   * @throws {HostError} as {@link dial}: the first connection has to come about at once.
   */
  static async open(to: Destination, longest: number): Promise<LastingRequests> {
    let opened: LastingRequests | undefined;
    const link = await dial(to, (ended) => {
      if (opened !== undefined) opened.#ended(ended);
    });
    opened = new LastingRequests(to, longest, link.found);
    opened.#link = link;
    if (link.connection.error !== undefined) opened.#ended(link);
    return opened;
  }

  get error(): HostError | undefined {
    return this.#error;
  }

  async send(
    type: number,
    flags: number,
    offset: number,
    count: number,
    target?: Uint8Array,
    source?: Uint8Array,
  ): Promise<void> {
    const isKept = this.#keeps && changes.includes(type);
    if (isKept && this.#log.isFull) await this.#makeRoom();
    for (;;) {
      const link = this.#link ?? (await this.#restored());
      const { end } = this.#log;
      try {
        await link.requests.send(type, flags, offset, count, target, source);
      } catch (error) {
        if (!link.connection.lost) throw error;
        continue;
      }
      if (isKept) this.#log.add(type, flags, offset, count, source);
      if (type === command.FLUSH) this.#log.prune(end);
      this.#attempts = 0;
      return;
    }
  }

  async close(): Promise<void> {
    this.#error ??= new HostError('IO_ERROR', `${this.#to.uri} is closed`);
    this.#restoring?.stop.abort();
    await this.#restoring?.link.catch(() => {});
    await this.#link?.requests.close();
  }

  async #makeRoom(): Promise<void> {
    while (this.#log.isFull) {
      this.#flushing ??= this.send(command.FLUSH, 0, 0, 0).finally(() => {
        this.#flushing = undefined;
      });
      await this.#flushing;
    }
  }

  #ended(link: Link): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    if (!link.connection.lost) this.#error ??= link.connection.error;
    // Whoever waits for it hears what comes of it.
    this.#restored().catch(() => {});
  }

  /** The link that is there next. */
  #restored(): Promise<Link> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#restoring === undefined) {
      const stop = new AbortController();
      const link = this.#restore(stop.signal).finally(() => {
        this.#restoring = undefined;
      });
      this.#restoring = { link, stop };
    }
    return this.#restoring.link;
  }

  async #restore(stop: AbortSignal): Promise<Link> {
    const now = performance.now();
    // A server that takes connections and no requests is none.
    if (now - this.#restoredAt > longestPause) this.#attempts = 0;
    if (this.#attempts === 0) this.#since = now;
    for (;;) {
      let last: unknown;
      try {
        const pause = this.#attempts === 0 ? 0 : Math.min(longestPause, firstPause * 2 ** this.#attempts);
        this.#attempts++;
        if (pause > 0) await setTimeout(pause, undefined, { signal: stop });
        return await this.#attempt(stop);
      } catch (error) {
        last = error;
      }
      const late = performance.now() - this.#since >= this.#longest;
      if (late)
        this.#error ??= new HostError('IO_ERROR', `${reasonOf(last)}; it did not come back`, { cause: last });
      if (this.#error !== undefined) throw this.#error;
    }
  }

  async #attempt(stop: AbortSignal): Promise<Link> {
    const left = Math.max(1, this.#longest - (performance.now() - this.#since));
    const to = { ...this.#to, patience: Math.min(this.#to.patience, left), stop };
    const link = await dial(to, (ended) => this.#ended(ended));
    const { connection, requests, found } = link;
    try {
      if (!isSame(found, this.found))
        throw new HostError('IO_ERROR', `${this.#to.uri}: it is another disk now`);
      for (const { type, flags, offset, count, bytes } of this.#log.writes) {
        await requests.send(type, flags, offset, count, undefined, bytes);
      }
      if (this.#error ?? connection.error) throw this.#error ?? connection.error;
    } catch (error) {
      // What was answered once cannot be had again, or is not to be written there.
      if (!connection.lost) this.#error ??= asHostError(error);
      connection.fail(asHostError(error));
      throw error;
    }
    this.#restoredAt = performance.now();
    this.#link = link;
    return link;
  }
}

/** What requests were made for is the same. */
function isSame(now: Export, before: Export): boolean {
  return (
    now.size === before.size &&
    now.blockSize === before.blockSize &&
    now.mostPayload >= before.mostPayload &&
    (now.flags & before.flags) === before.flags &&
    (now.flags & transmissionFlag.READ_ONLY) === (before.flags & transmissionFlag.READ_ONLY)
  );
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const asHostError = (error: unknown): HostError =>
  error instanceof HostError ? error : new HostError('IO_ERROR', reasonOf(error), { cause: error });
