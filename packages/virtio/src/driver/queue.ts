import type { PeerError } from '../errors.ts';
import { HostError, UsageError } from '../errors.ts';
import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { BufferElement, DriverQueue, QueuePosition } from '../virtqueue/queue.ts';
import type { Transport } from './transport.ts';

/** Called with the bytes that the device wrote, or with why the buffer never came back. */
export type Completion = (written: number, failure?: Error) => void;

/** Requests that wait for free descriptors, oldest first. */
interface Waiting {
  readonly readable: readonly BufferElement[];
  readonly writable: readonly BufferElement[];
  readonly done: Completion;
}

/** One virtqueue as a driver program uses it: buffers in, completions out. */
export class OpenQueue {
  readonly index: number;
  /** As the specification writes it: `requestq1`. */
  readonly label: string;
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly #transport: Transport;
  readonly #ring: DriverQueue<Completion>;
  readonly #sendsData: boolean;
  readonly #onBroken: (error: PeerError) => void;
  readonly #inFlight = new Set<Completion>();
  readonly #waiting: Waiting[] = [];
  readonly #areas: readonly number[];
  /** Freed with the queue: what the device may still write to, and buffers that are offered again and again. */
  readonly #kept: number[] = [];
  #closed: Error | undefined;
  #released = false;
  #paused = false;

  constructor(options: {
    readonly index: number;
    readonly label: string;
    readonly transport: Transport;
    readonly ring: DriverQueue<Completion>;
    /** What was allocated for the ring, to be freed with it. */
    readonly areas: readonly number[];
    /** VIRTIO_F_NOTIFICATION_DATA was negotiated. */
    readonly sendsData: boolean;
    readonly onBroken: (error: PeerError) => void;
  }) {
    this.index = options.index;
    this.label = options.label;
    this.memory = options.transport.memory;
    this.allocator = options.transport.allocator;
    this.#transport = options.transport;
    this.#ring = options.ring;
    this.#areas = options.areas;
    this.#sendsData = options.sendsData;
    this.#onBroken = options.onBroken;
  }

  /** Queue Size, in descriptors. */
  get size(): number {
    return this.#ring.size;
  }

  /** True once the device or the queue was closed, reset, or broken: nothing can be submitted. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Buffers that the device has, and those that wait for room. */
  get pending(): number {
    return this.#inFlight.size + this.#waiting.length;
  }

  /**
   * Offers a buffer that lies in shared memory and kicks if the device wants that. When the ring is full, or
   * the device suspended, the buffer waits its turn. `done` is called once, never before `submit` returns.
   *
   * @throws {UsageError} BAD_STATE when the queue is closed; BAD_ARGUMENT for a buffer no ring can hold.
   */
  submit(readable: readonly BufferElement[], writable: readonly BufferElement[], done: Completion): void {
    if (this.#closed !== undefined)
      throw new UsageError('BAD_STATE', `${this.label}: ${this.#closed.message}`);
    if (this.#paused || this.#waiting.length > 0 || !this.#ring.submit(readable, writable, done)) {
      this.#waiting.push({ readable, writable, done });
      return;
    }
    this.#inFlight.add(done);
    this.#kick();
  }

  /**
   * Sends `request` to the device and gives back what it wrote: up to `responseLength` bytes, cut at the used
   * length. Copies through shared memory; `submit` does without copies.
   */
  async request(request: Uint8Array, responseLength: number): Promise<Uint8Array> {
    const total = request.length + responseLength;
    const address = this.allocator.allocate(Math.max(total, 1));
    try {
      this.memory.write(address, request);
      const responseAddress = address + request.length;
      const written = await new Promise<number>((resolve, reject) => {
        this.submit(
          request.length > 0 ? [{ address, length: request.length }] : [],
          responseLength > 0 ? [{ address: responseAddress, length: responseLength }] : [],
          (count, failure) => (failure === undefined ? resolve(count) : reject(failure)),
        );
      });
      return this.memory.read(responseAddress, Math.min(written, responseLength));
    } finally {
      this.free(address);
    }
  }

  /** @internal Memory for a buffer that is offered again and again: it is freed with the queue. */
  allocate(length: number): number {
    const address = this.allocator.allocate(length);
    this.#kept.push(address);
    return address;
  }

  /** @internal Frees a buffer; one that comes back from a queue that broke is the device's until a reset. */
  free(address: number): void {
    if (this.closed && !this.#released) this.#kept.push(address);
    else this.allocator.free(address);
  }

  /** @internal The device may have used buffers. */
  process(): void {
    if (this.#closed !== undefined) return;
    this.#ring.disableNotifications();
    do {
      for (let used = this.#ring.poll(); used !== undefined; used = this.#ring.poll()) {
        const { token, written } = used;
        this.#inFlight.delete(token);
        token(written);
        if (this.closed) return;
      }
      if (this.#ring.error !== undefined) {
        this.close(this.#ring.error);
        this.#onBroken(this.#ring.error);
        return;
      }
      this.#submitWaiting();
    } while (this.#ring.enableNotifications());
  }

  /** @internal The device died, and its like goes on from the position that this returns. */
  restart(remembers: boolean): QueuePosition | undefined {
    this.process();
    return this.closed ? undefined : this.#ring.restart(remembers);
  }

  /** @internal What is submitted from now on waits: the device is being suspended. */
  pause(): void {
    this.#paused = true;
  }

  /** @internal Goes on with what waits, and with what the device has used. */
  unpause(): void {
    this.#paused = false;
    this.process();
  }

  /** @internal Fails every buffer that has not come back. */
  close(reason: Error = new HostError('DEVICE_GONE', 'the device was closed')): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    const lost = [...this.#inFlight, ...this.#waiting.map((entry) => entry.done)];
    this.#inFlight.clear();
    this.#waiting.length = 0;
    for (const done of lost) done(0, reason);
  }

  /**
   * @internal The device was reset, or the queue was, or neither ever saw DRIVER_OK: frees all that it could
   * have touched.
   *
   * @spec 3.3.1 driver: General Initialization And Device Operation / Device Cleanup
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#ring.close();
    for (const address of [...this.#areas, ...this.#kept.splice(0)]) this.allocator.free(address);
  }

  #submitWaiting(): void {
    if (this.#paused) return;
    let submitted = false;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#ring.submit(next.readable, next.writable, next.done)) break;
      this.#inFlight.add(next.done);
      this.#waiting.shift();
      submitted = true;
    }
    if (submitted) this.#kick();
  }

  #kick(): void {
    if (!this.#ring.publish()) return;
    this.#transport.kick(this.index, this.#sendsData ? this.#ring.notificationData() : undefined);
  }
}
