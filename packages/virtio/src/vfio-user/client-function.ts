import type { Channel } from '../channel/channel.ts';
import type { DescriptorHost } from '../channel/descriptors.ts';
import type { DriverMemory } from '../channel/shared-memory.ts';
import type { AccessWidth } from '../driver/config-access.ts';
import { HostError, UsageError, type VirtioError } from '../errors.ts';
import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { type VfioRegionEvent, VfioUserClient } from './client.ts';
import { deviceFlag, irq, region } from './messages.ts';

/** What a driver's process has for a device. */
export interface VfioPciOptions {
  readonly descriptors: DescriptorHost;
  /** The driver's memory, which the device is given: a `SharedMemory`. Stays the caller's. */
  readonly shared: DriverMemory;
  /** True to keep its descriptors: the device has to ask for every byte by messages. It need not know how to. */
  readonly byMessages?: boolean;
  /** Hears of interrupts that could not be set up, and of what the device asks for wrongly. */
  readonly onError?: (error: VirtioError) => void;
}

/** A message that a driver writes into an MSI-X table: behind vfio-user only the vector counts. */
interface VectorMessage {
  readonly address: number;
  readonly data: number;
  free(): void;
}

/** Where x86 has its interrupt messages; nothing is ever written there. */
const messageAddress = 0xfee0_0000;
const bars = [region.BAR0, region.BAR1, region.BAR2, region.BAR3, region.BAR4, region.BAR5];

/**
 * A PCI function behind a vfio-user socket, as a driver reaches it: `PciTransport.open` and `openPci` of
 * `virtio/transports/pci` take it. Kicks go by events where the server has such, interrupts come by events.
 *
 * @example
 * const shared = new SharedMemory(descriptors, 16 * 2 ** 20);
 * const pciFunction = await VfioPciFunction.open(connectUnix('/run/disk.sock'), { descriptors, shared });
 * const disk = await openBlk(await openPci(pciFunction, { room }));
 */
export class VfioPciFunction {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly client: VfioUserClient;
  /** Calls the handler whenever the line is raised. Absent where the function has no INTx. */
  readonly listenLine?: (handler: (() => void) | undefined) => void;

  readonly #options: VfioPciOptions;
  readonly #vectors: number;
  /** What can be written by an event, by BAR. */
  readonly #kicks: readonly (readonly VfioRegionEvent[])[];
  readonly #bytes = new Uint8Array(4);
  readonly #view = new DataView(this.#bytes.buffer);
  /** Ends what was begun: watches, events. */
  readonly #ends = new Set<() => void>();
  #endLine: (() => void) | undefined;

  private constructor(
    client: VfioUserClient,
    options: VfioPciOptions,
    found: {
      readonly lines: number;
      readonly vectors: number;
      readonly kicks: readonly (readonly VfioRegionEvent[])[];
    },
  ) {
    this.client = client;
    this.memory = options.shared.memory;
    this.allocator = options.shared.allocator;
    this.#options = options;
    this.#vectors = found.vectors;
    this.#kicks = found.kicks;
    if (found.lines > 0) this.listenLine = (handler) => this.#listenLine(handler);
  }

  /**
   * Takes the channel over, asks what the device is, and gives it the memory.
   *
   * @throws {HostError} DEVICE_GONE or IO_ERROR when the server closes the connection, or refuses.
   * @throws {PeerError} BAD_MESSAGE when it does not keep to the protocol.
   * @throws {UsageError} BAD_ARGUMENT when the device is no PCI function.
   */
  static async open(channel: Channel, options: VfioPciOptions): Promise<VfioPciFunction> {
    const { shared, byMessages = false, onError } = options;
    const kicks: (readonly VfioRegionEvent[])[] = [];
    const client = await VfioUserClient.connect(channel, {
      memory: shared.memory,
      ...(onError === undefined ? {} : { onError }),
    });
    try {
      const { flags } = await client.deviceInfo();
      if ((flags & deviceFlag.PCI) === 0) {
        throw new UsageError('BAD_ARGUMENT', 'the vfio-user device is no PCI function');
      }
      for (const { descriptor, ...range } of shared.ranges) {
        await client.mapMemory(byMessages ? range : { ...range, descriptor });
      }
      const { count: lines } = await client.irqInfo(irq.INTX);
      const { count: vectors } = await client.irqInfo(irq.MSIX);
      for (const bar of bars) kicks.push(await kicksOf(client, bar));
      return new VfioPciFunction(client, options, { lines, vectors, kicks });
    } catch (error) {
      client.close();
      closeKicks(kicks);
      throw error;
    }
  }

  configRead(offset: number, width: AccessWidth): Promise<number> {
    return this.#read(region.CONFIG, offset, width);
  }

  configWrite(offset: number, width: AccessWidth, value: number): Promise<void> {
    return this.client.write(region.CONFIG, offset, this.#bytesOf(width, value));
  }

  barRead(bar: number, offset: number, width: AccessWidth): Promise<number> {
    return this.#read(bar, offset, width);
  }

  barWrite(bar: number, offset: number, width: AccessWidth, value: number): Promise<void> {
    return this.client.write(bar, offset, this.#bytesOf(width, value));
  }

  /** A write that nobody waits for: a signal where an event stands for it. */
  barWriteNow(bar: number, offset: number, width: AccessWidth, value: number): void {
    const kicks = this.#kicks[bar] ?? [];
    for (let i = 0; i < kicks.length; i++) {
      const kick = kicks[i]!;
      if (kick.offset !== offset || (kick.width !== width && kick.width !== 0)) continue;
      if (kick.value !== undefined && kick.value !== value) continue;
      this.#options.descriptors.signal(kick.event);
      return;
    }
    this.client.post(bar, offset, this.#bytesOf(width, value));
  }

  listenGone(handler: (error: Error) => void): void {
    this.client.listenGone(handler);
  }

  /** A message for a vector, or `undefined` where the function has no such vector. */
  async allocateMessage(handler: () => void, vector: number): Promise<VectorMessage | undefined> {
    if (vector >= this.#vectors) return undefined;
    const end = await this.#listen(irq.MSIX, vector, handler);
    return { address: messageAddress, data: vector, free: end };
  }

  /** Ends the connection, and lets go of everything but the memory. Safe to call twice. */
  close(): void {
    for (const end of [...this.#ends]) end();
    this.client.close();
    closeKicks(this.#kicks);
  }

  #listenLine(handler: (() => void) | undefined): void {
    this.#endLine?.();
    this.#endLine = undefined;
    if (handler === undefined) return;
    const raised = (): void => {
      handler();
      // What the handler asks for goes first; if the line is still up behind it, it is raised again.
      this.#detached(this.client.actOnIrqs(irq.INTX, 0, 1, 'unmask'));
    };
    const listening = this.#listen(irq.INTX, 0, raised);
    this.#endLine = () => this.#detached(listening.then((end) => end()));
    this.#detached(listening);
  }

  /** Has an interrupt call a handler; gives what ends that. */
  async #listen(index: number, at: number, handler: () => void): Promise<() => void> {
    const { descriptors } = this.#options;
    const event = descriptors.createEvent();
    let stop = (): void => {};
    const end = (): void => {
      if (!this.#ends.delete(end)) return;
      stop();
      event.close();
    };
    this.#ends.add(end);
    try {
      stop = descriptors.watch(event, handler);
      await this.client.listenIrqs(index, at, [event]);
    } catch (error) {
      end();
      throw error;
    }
    return () => {
      if (!this.#ends.has(end)) return;
      end();
      this.#detached(this.client.ignoreIrqs(index, at, 1));
    };
  }

  /** Who waits for nothing hears of failures all the same, unless the connection is gone: that is told otherwise. */
  #detached(work: Promise<unknown>): void {
    work.catch((error: VirtioError) => {
      if (error.code !== 'DEVICE_GONE') this.#options.onError?.(error);
    });
  }

  async #read(index: number, offset: number, width: AccessWidth): Promise<number> {
    const bytes = await this.client.read(index, offset, width);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (width === 1) return view.getUint8(0);
    return width === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
  }

  /** Good until the next call: what is sent is taken over at once. */
  #bytesOf(width: AccessWidth, value: number): Uint8Array {
    this.#view.setUint32(0, value, true);
    return this.#bytes.subarray(0, width);
  }
}

/** A server without such events refuses, and is told by messages then. */
function kicksOf(client: VfioUserClient, bar: number): Promise<readonly VfioRegionEvent[]> {
  return client.regionEvents(bar).catch((error: unknown) => {
    if (error instanceof HostError && error.code === 'IO_ERROR') return [];
    throw error;
  });
}

function closeKicks(kicks: readonly (readonly VfioRegionEvent[])[]): void {
  for (const { event } of kicks.flat()) event.close();
}
