import type { ActiveQueue } from '../../device/active-queue.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { type Access, GuestMemory, type Translation } from '../../memory/guest-memory.ts';
import type { Region } from '../../memory/region.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import type {
  DeviceQueue,
  DeviceQueueState,
  DeviceRingOptions,
  ListChains,
  QueueAreas,
} from '../../virtqueue/queue.ts';
import type { RestoredQueue } from '../../virtqueue/restored-queue.ts';
import { untake } from '../../virtqueue/untake.ts';
import type { ClientMemory } from './client-memory.ts';
import {
  type AreaName,
  type Cell,
  type DriverArea,
  type DriverBytes,
  mostTableBytes,
  packedBytes,
  type RingBytes,
  splitBytes,
  type TablePlace,
} from './ring-bytes.ts';

/** What a queue in memory that is reached by messages asks of the device that it belongs to. */
export interface QueueWaker {
  /** The device's queue with this ring; `undefined` once it has none. */
  find(ring: DeviceQueue): ActiveQueue | undefined;
  /** Lets the device have what is available. */
  process(queue: ActiveQueue): void;
  /** Notifies the driver. */
  interrupt(queue: ActiveQueue): void;
  /** The queue is broken. */
  failed(queue: ActiveQueue, error: PeerError): void;
  /** What was completed has reached the driver. */
  settled(): void;
}

/** One of the areas of the ring: the bytes here, and how those in the client's memory were last. */
interface Area {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly theirs: Uint8Array;
  /** Where they are to the ring. */
  readonly start: number;
}

/** Bytes that go to the client's memory, or come from there. */
interface Transfer {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** An element of a buffer, as it is here. */
interface Element extends Transfer {
  readonly access: Access;
}

/** Bytes of buffers here at a time, beyond which no further buffer is taken. */
const enoughHeld = 64 * 2 ** 20;
/** Bytes beyond which a buffer is refused. */
const mostHeld = 4 * enoughHeld;
/** Transfers at a time. */
const mostAtOnce = 8;
/** What is aligned in the client's memory is aligned here. */
const alignment = 8;
const areaNames: readonly AreaName[] = ['descriptor', 'driver', 'device'];

/**
 * A virtqueue in memory that is reached by messages alone. A ring beneath it works on copies: of the three areas, and of
 * every buffer. Rounds of messages keep the copies and the client's memory in step, one round after the other: what was
 * completed goes out, what became available comes in, with all that the device will read of it; then the device is called.
 */
export class RemoteQueue implements DeviceQueue {
  readonly #bytes: RingBytes;
  readonly #ring: DeviceQueue;
  readonly #options: DeviceRingOptions;
  readonly #client: ClientMemory;
  readonly #waker: QueueWaker;
  readonly #store = new GuestMemory();
  readonly #areas = new Map<AreaName, Area>();
  readonly #cells: readonly Cell[];
  readonly #elements = new Map<Region, Element>();
  /** Indirect tables that were fetched for buffers that are about to be taken. */
  readonly #tables = new Map<number, Region>();
  #nextAddress = 4096;
  #heldBytes = 0;

  /** Taken from the ring, oldest first, and not by the device yet: it may have the first `#ready` of them. */
  readonly #ahead: Chain[] = [];
  #ready = 0;
  /** Completed by the device, and what it wrote. */
  #done: Chain[] = [];
  #written: Transfer[] = [];
  /** Completed in the ring, and on the way to the driver. */
  #leaving = 0;
  #error: PeerError | undefined;
  #closed = false;
  #running = false;
  /** There is reason for another round. */
  #again = false;
  /** The driver shall notify of buffers. */
  #hungry = false;
  /** Something was completed since the last flush. */
  #unnotified = false;
  /** The driver shall be notified, if it wants, of what was completed. */
  #notify = false;
  /** The device area was read, which is the device's to write otherwise. */
  #known = false;
  /** Rises when what was taken ahead was put back. */
  #putBack = 0;

  constructor(
    of: DeviceRing,
    areas: QueueAreas,
    options: DeviceRingOptions,
    restored: RestoredQueue | undefined,
    client: ClientMemory,
    waker: QueueWaker,
  ) {
    this.#client = client;
    this.#waker = waker;
    this.#options = options;
    this.#bytes = of.format.name === 'packed' ? packedBytes : splitBytes;
    this.#cells = this.#bytes.cells(areas.size);
    const shapes = of.format.areas(areas.size);
    for (const name of areaNames) {
      const { length } = shapes[name];
      const address = areas[name];
      // A ring outside of memory is found out by the ring beneath.
      if (!client.covers(address, length, name === 'device' ? 'write' : 'read')) continue;
      const { bytes, start } = this.#hold(address, length);
      this.#areas.set(name, { address, bytes, theirs: new Uint8Array(length), start });
    }
    const memory = this.#store.translated((...access) => this.#translate(...access));
    this.#ring = of.make(memory, areas, options, restored);
  }

  get size(): number {
    return this.#ring.size;
  }

  get error(): PeerError | undefined {
    return this.#error ?? this.#ring.error;
  }

  get inFlight(): number {
    return this.#ring.inFlight - this.#ahead.length + this.#leaving;
  }

  take(): Chain | undefined {
    if (this.#ready === 0) {
      this.#round();
      return undefined;
    }
    this.#ready--;
    return this.#ahead.shift();
  }

  hasAvailable(): boolean {
    return this.error === undefined && this.#ready > 0;
  }

  complete(chain: Chain): void {
    if (!chain.live) {
      this.#ring.complete(chain);
      return;
    }
    if (this.#done.includes(chain)) {
      throw new UsageError('CHAIN_COMPLETED', `chain ${chain.id} was completed before`);
    }
    chain.writable.writtenPieces((region, offset, length) => {
      const element = this.#elements.get(region);
      if (element === undefined) return;
      const bytes = region.bytes.subarray(offset, offset + length);
      this.#written.push({ address: element.address + offset, bytes });
    });
    this.#done.push(chain);
    this.#unnotified = true;
    this.#round();
  }

  /** It goes back to where it came from here: to the first of those that were taken ahead. */
  putBack(chain: Chain): void {
    if (!chain.live) return;
    chain.readable.seek(0);
    chain.writable.seek(0);
    this.#ahead.unshift(chain);
    this.#ready++;
  }

  /** Whether the driver wants to be notified is found out when it can see what was completed. */
  flush(): boolean {
    if (this.#unnotified) {
      this.#unnotified = false;
      this.#notify = true;
      this.#round();
    }
    return false;
  }

  publish(): void {
    this.#round();
  }

  enableNotifications(): boolean {
    this.#hungry = true;
    this.#round();
    return this.hasAvailable();
  }

  /** A notification too many costs less than the message that would spare it. */
  disableNotifications(): void {}

  save(list: ListChains): DeviceQueueState {
    for (const chain of this.#ahead.splice(0).reverse()) {
      this.#release(chain);
      untake(this.#ring, chain);
    }
    this.#ready = 0;
    this.#putBack++;
    return this.#ring.save(list);
  }

  close(): void {
    this.#closed = true;
    this.#ring.close();
  }

  /** Has one more round go, behind the one that goes now. */
  #round(): void {
    this.#again = true;
    if (this.#running || !this.#goesOn) return;
    this.#running = true;
    void Promise.resolve()
      .then(() => this.#rounds())
      .catch((error: unknown) => this.#fail(error))
      .then(() => {
        this.#running = false;
        if (this.#ring.error !== undefined) this.#fail(this.#ring.error);
        else if (this.#again) this.#round();
      });
  }

  #fail(thrown: unknown): void {
    const error =
      thrown instanceof PeerError
        ? thrown
        : new PeerError('ADDRESS_OUT_OF_BOUNDS', `the client's memory failed: ${String(thrown)}`);
    this.#error ??= error;
    const queue = this.#closed ? undefined : this.#waker.find(this);
    if (queue !== undefined) this.#waker.failed(queue, error);
  }

  async #rounds(): Promise<void> {
    while (this.#again && this.#goesOn) {
      this.#again = false;
      if (!this.#known) await this.#readDeviceArea();
      const wantsNotifying = this.#notify;
      this.#notify = false;
      await this.#giveBack();
      if (!this.#goesOn) return;
      await this.#takeAhead(wantsNotifying);
      if (!this.#goesOn) return;
      if (this.#ready > 0) this.#wake();
    }
  }

  get #goesOn(): boolean {
    return !this.#closed && this.error === undefined;
  }

  #wake(): void {
    const queue = this.#closed ? undefined : this.#waker.find(this);
    if (queue !== undefined) this.#waker.process(queue);
  }

  /** Where another device left off, if there was one. */
  async #readDeviceArea(): Promise<void> {
    const area = this.#areas.get('device');
    if (area === undefined) return;
    await this.#client.read(area.address, area.theirs);
    area.bytes.set(area.theirs);
    this.#known = true;
  }

  /** Sends what the device has written, then where it says so, then what makes the driver look there. */
  async #giveBack(): Promise<void> {
    const written = this.#written;
    const done = this.#done;
    this.#written = [];
    this.#done = [];
    this.#leaving = done.length;
    for (const chain of done) {
      this.#release(chain);
      this.#ring.complete(chain);
    }
    this.#ring.publish();
    if (this.#hungry) this.#ring.enableNotifications();
    this.#hungry = false;
    await this.#move([...written, ...this.#changes(false)], 'write');
    if (this.#closed) return;
    await this.#move(this.#changes(true), 'write');
    this.#leaving = 0;
    if (done.length > 0) this.#waker.settled();
  }

  /** What differs from the client's memory, which will not differ any more. */
  #changes(shows: boolean): Transfer[] {
    const transfers: Transfer[] = [];
    for (const cell of this.#cells) {
      const area = this.#areas.get(cell.area);
      if (cell.shows !== shows || area === undefined) continue;
      const { address, bytes, theirs } = area;
      let { start, end } = cell;
      while (start < end && bytes[start] === theirs[start]) start++;
      while (start < end && bytes[end - 1] === theirs[end - 1]) end--;
      if (start === end) continue;
      const changed = bytes.slice(start, end);
      theirs.set(changed, start);
      transfers.push({ address: address + start, bytes: changed });
    }
    return transfers;
  }

  /** Reads what the driver has made available, and tells whether it wants to hear of what was given back. */
  async #takeAhead(wantsNotifying: boolean): Promise<void> {
    const { size } = this.#ring;
    const little = this.#options.endian === 'little';
    const seen = await this.#fetch(this.#bytes.first);
    if (!this.#goesOn) return;
    const position = this.#ring.save(() => []);
    const isAhead = this.#bytes.settle(seen, seen, size, position, little).count > 0;
    const now = isAhead ? await this.#fetch(['descriptor', 'driver']) : seen;
    if (!this.#goesOn) return;
    const { tables, more } = this.#bytes.settle(seen, now, size, position, little);
    if (more) this.#again = true;
    this.#accept('descriptor', now.descriptor);
    this.#accept('driver', now.driver);
    if (wantsNotifying) this.#notifyDriver();
    await this.#fetchTables(tables);
    if (!this.#goesOn) return;
    const from = this.#ahead.length;
    while (this.#heldBytes < enoughHeld) {
      const chain = this.#ring.take();
      if (chain === undefined) break;
      this.#ahead.push(chain);
    }
    this.#dropTables();
    const putBack = this.#putBack;
    const elements = this.#ahead.slice(from).flatMap((chain) => this.#elementsOf(chain));
    await this.#move(
      elements.filter(({ access }) => access === 'read'),
      'read',
    );
    if (putBack === this.#putBack) this.#ready = this.#ahead.length;
  }

  #notifyDriver(): void {
    const queue = this.#ring.flush() ? this.#waker.find(this) : undefined;
    if (queue === undefined) return;
    queue.moderation?.notified?.(queue);
    this.#waker.interrupt(queue);
  }

  /** Bytes of areas as they are now; of others as they are here. */
  async #fetch(names: readonly DriverArea[]): Promise<DriverBytes> {
    const copyOf = (name: DriverArea): Uint8Array<ArrayBuffer> =>
      Uint8Array.from(this.#areas.get(name)?.bytes ?? []);
    const copies = { descriptor: copyOf('descriptor'), driver: copyOf('driver') };
    await this.#move(
      names.map((name) => ({ address: this.#areas.get(name)?.address ?? 0, bytes: copies[name] })),
      'read',
    );
    return { descriptor: new DataView(copies.descriptor.buffer), driver: new DataView(copies.driver.buffer) };
  }

  #accept(name: DriverArea, now: DataView): void {
    const area = this.#areas.get(name);
    const bytes = new Uint8Array(now.buffer);
    area?.bytes.set(bytes);
    area?.theirs.set(bytes);
  }

  /** Tables that cannot be are left to the ring, which says what is wrong with them. */
  async #fetchTables(places: readonly TablePlace[]): Promise<void> {
    for (const { address, length } of places) {
      const isSound = length > 0 && length <= mostTableBytes && this.#client.covers(address, length, 'read');
      if (isSound && !this.#tables.has(address)) this.#tables.set(address, this.#hold(address, length));
    }
    await this.#move(
      [...this.#tables].map(([address, { bytes }]) => ({ address, bytes })),
      'read',
    );
  }

  /** The ring has read the tables. */
  #dropTables(): void {
    for (const region of this.#tables.values()) this.#store.removeRegion(region);
    this.#tables.clear();
  }

  /** Where the ring finds what the driver means by an address: an area, a table, or an element to be. */
  #translate(address: number, length: number, access: Access): Translation | undefined {
    for (const area of this.#areas.values()) {
      if (area.address === address && area.bytes.length === length) return { address: area.start, length };
    }
    const table = this.#tables.get(address);
    if (table?.length === length && access === 'read') return { address: table.start, length };
    const fits = this.#heldBytes + length <= mostHeld;
    if (!fits || !this.#client.covers(address, length, access)) return undefined;
    const region = this.#hold(address, length);
    this.#elements.set(region, { address, bytes: region.bytes, access });
    this.#heldBytes += length;
    return { address: region.start, length };
  }

  /** New bytes that stand for those at an address, and are aligned as they are. */
  #hold(address: number, length: number): Region {
    const byteOffset = address % alignment;
    const start = this.#nextAddress + byteOffset;
    this.#nextAddress = Math.ceil((start + length) / alignment) * alignment;
    const buffer = new ArrayBuffer(byteOffset + length);
    return this.#store.addRegion(start, { buffer, byteOffset }, { pinned: true });
  }

  #elementsOf(chain: Chain): Element[] {
    return chain.regions.slice(0, chain.spanCount).flatMap((region) => this.#elements.get(region) ?? []);
  }

  /** A buffer is not here any more. */
  #release(chain: Chain): void {
    for (const region of chain.regions.slice(0, chain.spanCount)) {
      if (!this.#elements.delete(region)) continue;
      this.#heldBytes -= region.length;
      this.#store.removeRegion(region);
    }
  }

  async #move(transfers: readonly Transfer[], access: Access): Promise<void> {
    let next = 0;
    const some = async (): Promise<void> => {
      for (let one = transfers[next++]; one !== undefined && !this.#closed; one = transfers[next++]) {
        await this.#client[access](one.address, one.bytes);
      }
    };
    await Promise.all(Array.from({ length: Math.min(mostAtOnce, transfers.length) }, some));
  }
}
