import type { ActiveQueue } from '../../device/active-queue.ts';
import { HostError, UsageError } from '../../errors.ts';
import type { ReadableCursor } from '../../virtqueue/chain.ts';
import { Input } from './input.ts';
import { misdirected } from './outbox.ts';
import type { PortState } from './saved.ts';
import { type ConsoleSize, isConsoleSize } from './spec.ts';

/** How a port is made. */
export interface PortOptions {
  /** What the guest finds the port by; Linux makes it a name in `/dev/virtio-ports`. */
  readonly name?: string;
  /** Fit for text; only port 0 is unless told. */
  readonly console?: boolean;
  /**
   * Takes a copy of what the guest wrote, at most 64 KiB at once. While a returned promise is pending no more
   * is given, and the guest's buffers are not returned.
   */
  readonly onData?: (bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>;
  /** The guest opened or closed its end. */
  readonly onGuestOpen?: (open: boolean) => void;
  /** Whether the host's end starts open; true unless told. */
  readonly open?: boolean;
  /** How large it is at first, if it is fit for text: 80 by 25 unless told. */
  readonly size?: ConsoleSize;
}

/** Where a port finds its guest. */
export interface PortOwner {
  inputAdded(port: ConsolePort): void;
  hostOpenChanged(port: ConsolePort): void;
  resized(port: ConsolePort): void;
}

/** From here on a port takes no more input until the guest has taken some: 1 MiB. */
const inputLimit = 2 ** 20;

/** The most bytes that are copied out of the guest's memory at once. */
const mostAtOnce = 65_536;

const defaultSize: ConsoleSize = { cols: 80, rows: 25 };

/** One port of a console device: the host's end of a two-way stream of bytes. */
export class ConsolePort {
  readonly id: number;
  /** Empty for a port without a name. */
  readonly name: string;
  readonly isConsole: boolean;
  /** @internal The driver was told of the port. */
  announced = false;
  /** @internal The driver has set the port up. */
  ready = false;
  readonly #options: PortOptions;
  readonly #owner: PortOwner;
  readonly #input = new Input();
  #hostOpen: boolean;
  #guestOpen = false;
  #size: ConsoleSize;
  #removed = false;
  /** What the guest wrote and the host has not taken; settles when it has. */
  #output: Promise<void> | undefined;
  #releaseOutput: (() => void) | undefined;

  /** @internal */
  constructor(id: number, options: PortOptions, owner: PortOwner) {
    this.id = id;
    this.name = options.name ?? '';
    this.isConsole = options.console ?? id === 0;
    this.#options = options;
    this.#owner = owner;
    this.#hostOpen = options.open ?? true;
    this.#size = options.size ?? defaultSize;
  }

  /** True while the guest's end is open. Input waits until it is. */
  get guestOpen(): boolean {
    return this.#guestOpen;
  }

  get hostOpen(): boolean {
    return this.#hostOpen;
  }

  get size(): ConsoleSize {
    return this.#size;
  }

  /** Bytes of input that the guest has not taken. */
  get waiting(): number {
    return this.#input.length;
  }

  /**
   * Sends bytes to the guest: keys, if it is a console. Settles when the guest has taken all of them; they wait
   * for a guest that starts, restarts, or opens its end, and are copied. Whoever waits for each write before the next holds
   * no more memory than one write's.
   *
   * @throws {UsageError} QUEUE_FULL, having done nothing, when 1 MiB or more waits already; BAD_STATE when
   * the host's end is closed.
   * @throws {HostError} DEVICE_GONE when the bytes were discarded.
   *
   * Whoever does not wait does not hear of it: a guest that stops reading must not end the host's process.
   */
  write(bytes: Uint8Array): Promise<void> {
    const taken = this.#write(bytes);
    taken.catch(() => {});
    return taken;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (!this.#hostOpen) throw new UsageError('BAD_STATE', `the host's end of port ${this.id} is closed`);
    if (this.#input.length >= inputLimit) {
      throw new UsageError('QUEUE_FULL', `${this.#input.length} bytes wait at port ${this.id}`);
    }
    const taken = this.#input.add(bytes);
    this.#owner.inputAdded(this);
    await taken;
  }

  /** Forgets the input that the guest has not taken. */
  discard(): void {
    this.#input.discard(new HostError('DEVICE_GONE', `the input of port ${this.id} was discarded`));
  }

  /**
   * Opens the host's end.
   *
   * @throws {UsageError} BAD_STATE when the port was removed.
   */
  open(): void {
    if (this.#removed) throw new UsageError('BAD_STATE', `port ${this.id} was removed`);
    this.#setHostOpen(true);
  }

  /** Closes the host's end at once: input that waits is discarded, and output goes nowhere. */
  close(): void {
    this.discard();
    this.#setHostOpen(false);
  }

  /**
   * Tells the guest how large its screen is.
   *
   * @throws {UsageError} BAD_ARGUMENT for numbers that are not 0 to 65535, or a port that is not for text.
   */
  resize(cols: number, rows: number): void {
    if (!isConsoleSize({ cols, rows })) {
      throw new UsageError('BAD_ARGUMENT', `${cols} by ${rows} is no size`);
    }
    if (!this.isConsole) throw new UsageError('BAD_ARGUMENT', `port ${this.id} is not for text`);
    this.#size = { cols, rows };
    this.#owner.resized(this);
  }

  /** @internal The guest opened or closed its end. */
  setGuestOpen(open: boolean): void {
    if (this.#guestOpen === open) return;
    this.#guestOpen = open;
    this.#options.onGuestOpen?.(open);
  }

  /** @internal Gives the guest's buffers what waits. Each is returned at once: none is kept by an idle port. */
  sendInput(queue: ActiveQueue): void {
    queue.batch(() => {
      while (this.#guestOpen && this.#input.length > 0) {
        const chain = queue.take();
        if (chain === undefined) return;
        if (chain.readable.length > 0) throw misdirected(queue.label, 'readable');
        this.#input.fill(chain.writable);
        queue.complete(chain);
      }
    });
  }

  /** @internal Hands on what the guest wrote, after all that it wrote before. */
  receive(data: ReadableCursor): void | Promise<void> {
    const handOn = (): void | Promise<void> => this.#handOn(data);
    const settled = this.#output === undefined ? handOn() : this.#output.then(handOn, handOn);
    if (settled === undefined) return undefined;
    const output = settled.finally(() => {
      if (this.#output === output) this.#output = undefined;
    });
    this.#output = output;
    return output;
  }

  /** @internal Hands on a character that came another way than through the queues. */
  receiveByte(byte: number): void | Promise<void> {
    return this.#options.onData?.(Uint8Array.of(byte));
  }

  /** @internal The port is no more. Settles when none of the guest's buffers is with the host. */
  async end(): Promise<void> {
    this.#removed = true;
    this.close();
    this.setGuestOpen(false);
    this.#releaseOutput?.();
    // What fails there is reported by the chain that it fails for.
    await this.#output?.catch(() => undefined);
  }

  /** @internal */
  forgetGuest(): void {
    this.announced = false;
    this.ready = false;
    this.setGuestOpen(false);
  }

  /** @internal */
  save(): PortState {
    const { id, name, announced, ready, guestOpen } = this;
    return { id, name, announced, ready, guestOpen, size: this.#size, input: this.#input.save() };
  }

  /** @internal Takes over what a port of the same number and name knew of its guest. */
  restore(state: PortState): void {
    this.announced = state.announced;
    this.ready = state.ready;
    this.#size = state.size;
    this.setGuestOpen(state.guestOpen);
    this.discard();
    // Nobody waits for it: who did was in another process.
    void this.#input.add(Uint8Array.from(state.input)).catch(() => undefined);
  }

  #handOn(data: ReadableCursor): void | Promise<void> {
    while (data.remaining > 0 && this.#hostOpen && this.#options.onData !== undefined) {
      const settled = this.#options.onData(data.bytes(Math.min(data.remaining, mostAtOnce)));
      if (settled !== undefined) return this.#untilRemoved(settled).then(() => this.#handOn(data));
    }
    return undefined;
  }

  /** Waits for the host, unless the port is removed before. */
  #untilRemoved(settled: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#releaseOutput = resolve;
      Promise.resolve(settled).then(resolve, reject);
    });
  }

  #setHostOpen(open: boolean): void {
    if (this.#hostOpen === open) return;
    this.#hostOpen = open;
    this.#owner.hostOpenChanged(this);
  }
}
