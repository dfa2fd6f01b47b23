import type { Descriptor, EventHost } from '../channel/descriptors.ts';
import type { StructValue } from '../spec/layout.ts';
import type { vhost_vring_addr } from './payloads.ts';

/** How a ring's kicks come: by an event, by messages, or by looking now and then; `undefined` while it is stopped. */
export type KickSource = { readonly event: Descriptor } | 'messages' | 'polled' | undefined;

/** How a front end that has given no event is notified. */
export type InBandName = 'VRING_CALL' | 'VRING_ERR';

/** What a front end has said of one queue. */
export class Vring {
  readonly index: number;
  readonly #events: EventHost;
  readonly #inBand: (name: InBandName) => void;
  /** Descriptors; 0 until told. */
  size = 0;
  addresses: StructValue<(typeof vhost_vring_addr)['codecs']> | undefined;
  /** Where it begins, as SET_VRING_BASE has it. */
  base = 0;
  /** Where it was stopped, as GET_VRING_BASE has told the front end. */
  stoppedAt: number | undefined;
  enabled = false;
  /** True while it is live in the device's core, be it held or not. */
  live = false;
  #kick: KickSource;
  #call: Descriptor | undefined;
  #err: Descriptor | undefined;
  /** The front end has said how it wants to be notified. */
  #callIsSet = false;
  #errIsSet = false;
  #stopWatching: (() => void) | undefined;

  constructor(index: number, events: EventHost, inBand: (name: InBandName) => void) {
    this.index = index;
    this.#events = events;
    this.#inBand = inBand;
  }

  /** True from SET_VRING_KICK to GET_VRING_BASE. */
  get started(): boolean {
    return this.#kick !== undefined;
  }

  /** Takes a kick source over, in place of the one that is there. */
  setKick(kick: KickSource): void {
    this.unwatch();
    if (typeof this.#kick === 'object') this.#kick.event.close();
    this.#kick = kick;
  }

  /**
   * Takes an event over, in place of the one that is there; `undefined` when the front end looks for itself. It is signalled
   * at once: a back end before this one may have died between giving a buffer back and telling so, and its driver would
   * wait for ever.
   */
  setCall(event: Descriptor | undefined): void {
    this.#call?.close();
    this.#call = event;
    this.#callIsSet = true;
    this.signalCall();
  }

  /** Likewise, for errors. */
  setErr(event: Descriptor | undefined): void {
    this.#err?.close();
    this.#err = event;
    this.#errIsSet = true;
  }

  /**
   * Calls `kicked` after each kick. `poll` does so now and then, and gives what ends it.
   *
   * @throws {HostError} when the event cannot be watched.
   */
  watch(kicked: () => void, poll: (look: () => void) => () => void): void {
    this.unwatch();
    if (this.#kick === 'polled') this.#stopWatching = poll(kicked);
    else if (typeof this.#kick === 'object')
      this.#stopWatching = this.#events.watch(this.#kick.event, kicked);
  }

  unwatch(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
  }

  /** Tells the driver that buffers were used. */
  signalCall(): void {
    if (this.#call !== undefined) this.#events.signal(this.#call);
    else if (!this.#callIsSet) this.#inBand('VRING_CALL');
  }

  /** Tells the front end that the ring is broken. */
  signalErr(): void {
    if (this.#err !== undefined) this.#events.signal(this.#err);
    else if (!this.#errIsSet) this.#inBand('VRING_ERR');
  }

  /** As it is before a front end says anything. */
  reset(): void {
    this.setKick(undefined);
    this.setCall(undefined);
    this.setErr(undefined);
    this.#callIsSet = false;
    this.#errIsSet = false;
    this.size = 0;
    this.addresses = undefined;
    this.base = 0;
    this.stoppedAt = undefined;
    this.enabled = false;
    this.live = false;
  }
}
