import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { mostDescriptors } from '../channel/message-reader.ts';
import { HostError, UsageError, type VirtioError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { joined } from '../spec/joined.ts';
import type { StructValue } from '../spec/layout.ts';
import { type Capabilities, decodeVersion, defaultCapabilities, encodeVersion } from './capabilities.ts';
import { badMessage, Connection } from './connection.ts';
import { GivenMemory } from './given-memory.ts';
import {
  type CommandName,
  deviceFeature,
  dmaFlag,
  featureFlag,
  ioEventFlag,
  ioFdType,
  irqSetFlag,
  migrationFlag,
  migrationState,
  protocolVersion,
  regionFlag,
  vfio_irq_info,
  vfio_irq_set,
  vfio_region_info,
  vfio_user_device_feature,
  vfio_user_device_feature_dma_logging_control,
  vfio_user_device_feature_dma_logging_range,
  vfio_user_device_feature_dma_logging_report,
  vfio_user_device_feature_mig_state,
  vfio_user_device_feature_migration,
  vfio_user_device_info,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
  vfio_user_mig_data,
  vfio_user_region_access,
  vfio_user_region_io_fds,
  vfio_user_sub_region_ioeventfd,
  vfio_user_version,
  vfio_user_write,
  vfio_user_write_multi,
} from './messages.ts';
import { mostStateBytes } from './migration.ts';

/** How a client wants its connection. */
export interface VfioUserClientOptions {
  /** Memory that the device may use by messages (DMA_READ, DMA_WRITE), as far as `mapMemory` gives it. */
  readonly memory?: GuestMemory;
  /** Hears what the device did wrong, while the connection goes on. */
  readonly onError?: (error: VirtioError) => void;
}

/** What a device is made of. */
export interface VfioDeviceInfo {
  /** An or of `deviceFlag`. */
  readonly flags: number;
  readonly regions: number;
  readonly irqs: number;
}

/** A region of a device. */
export interface VfioRegionInfo {
  /** An or of `regionFlag`. */
  readonly flags: number;
  /** Bytes. */
  readonly size: number;
  /** Memory that can be mapped instead of reading and writing by messages, from `offset` on; the caller's to close. */
  readonly descriptor: Descriptor | undefined;
  readonly offset: number;
}

/** A kind of interrupts of a device. */
export interface VfioIrqInfo {
  /** An or of `irqFlag`. */
  readonly flags: number;
  readonly count: number;
}

/** Memory that a device shall reach: the bus addresses, and where a descriptor stands for it, what of its memory. */
export interface DmaMapping {
  readonly address: number;
  /** Bytes. */
  readonly size: number;
  /** Stays the caller's. Without one the device has to ask for every byte by messages. */
  readonly descriptor?: Descriptor;
  /** Bytes from the start of the descriptor's memory; 0 unless told. */
  readonly offset?: number;
}

/** A write that an event can stand for. */
export interface VfioRegionEvent {
  /** Bytes from the start of the region. */
  readonly offset: number;
  /** Bytes of the write. */
  readonly width: number;
  /** What is written; `undefined` where any value will do. */
  readonly value: number | undefined;
  /** To signal instead of writing; the caller's to close. One event may stand for several writes. */
  readonly event: Descriptor;
}

/** One small write of several. */
export interface VfioWrite {
  readonly region: number;
  readonly offset: number;
  /** At most 8 bytes. */
  readonly data: Uint8Array;
}

/** What this side can do. */
const own: Capabilities = { ...defaultCapabilities, max_msg_fds: 16, write_multiple: true };
/** A device beyond these is none. */
const most = { regions: 256, irqs: 256, interrupts: 2048 };

/** Any vfio-user device, whoever serves it, by its commands. */
export class VfioUserClient {
  /** What both sides can do: limits are the server's. */
  readonly server: Capabilities;
  readonly #connection: Connection;
  readonly #gone: ((error: Error) => void)[];
  readonly #given: GivenMemory;

  private constructor(
    connection: Connection,
    server: Capabilities,
    gone: ((error: Error) => void)[],
    given: GivenMemory,
  ) {
    this.#connection = connection;
    this.server = server;
    this.#gone = gone;
    this.#given = given;
  }

  /**
   * Takes the channel over, and agrees with the server on a version.
   *
   * @throws {HostError} DEVICE_GONE when the server closes the connection, IO_ERROR when it refuses.
   * @throws {PeerError} BAD_MESSAGE when its answer is none, or of another version.
   */
  static async connect(channel: Channel, options: VfioUserClientOptions = {}): Promise<VfioUserClient> {
    const gone: ((error: Error) => void)[] = [];
    const { memory, onError } = options;
    const given = new GivenMemory(memory, own.max_data_xfer_size);
    let failure: VirtioError | undefined;
    const connection = new Connection(
      channel,
      'client',
      { maxTransfer: own.max_data_xfer_size, maxDescriptors: 0 },
      {
        command: (command) => given.serve(command),
        refused: (error) => onError?.(error),
        closed: (error) => {
          failure = error;
          const reason = error ?? new HostError('DEVICE_GONE', 'the vfio-user server closed the connection');
          for (const handler of gone) handler(reason);
        },
      },
    );
    connection.start();
    const reply = await connection
      .request('VERSION', [encodeVersion(own)], { least: vfio_user_version.size })
      .catch((error: unknown) => {
        connection.close();
        throw failure ?? error;
      });
    try {
      const { major, minor, named } = decodeVersion(reply.view);
      if (major !== protocolVersion.major || minor > protocolVersion.minor) {
        throw badMessage(`the server speaks version ${major}.${minor}`);
      }
      if (named.max_data_xfer_size === 0) throw badMessage('the server takes no data at all');
      return new VfioUserClient(connection, { ...defaultCapabilities, ...named }, gone, given);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Calls the handler when the server is gone, or has broken the protocol. */
  listenGone(handler: (error: Error) => void): void {
    this.#gone.push(handler);
  }

  async deviceInfo(): Promise<VfioDeviceInfo> {
    const argsz = vfio_user_device_info.size;
    const reply = await this.#ask('DEVICE_GET_INFO', vfio_user_device_info.encode({ argsz }), argsz);
    const { flags, num_regions, num_irqs } = vfio_user_device_info.read(reply.view);
    if (num_regions > most.regions || num_irqs > most.irqs) {
      this.#broken(`the device has ${num_regions} regions and ${num_irqs} kinds of interrupts`);
    }
    return { flags, regions: num_regions, irqs: num_irqs };
  }

  /** Capabilities of the region are not asked for. */
  async regionInfo(index: number): Promise<VfioRegionInfo> {
    const argsz = vfio_region_info.size;
    const request = vfio_region_info.encode({ argsz, index });
    const { view, descriptors } = await this.#connection.request('DEVICE_GET_REGION_INFO', [request], {
      least: argsz,
      maxDescriptors: 1,
    });
    const { flags, size, offset } = vfio_region_info.read(view);
    const [descriptor] = descriptors;
    const isSound = size <= Number.MAX_SAFE_INTEGER && offset <= Number.MAX_SAFE_INTEGER;
    if (isSound && (descriptor === undefined || (flags & regionFlag.MMAP) !== 0)) {
      return { flags, size: Number(size), offset: Number(offset), descriptor };
    }
    descriptor?.close();
    return this.#broken(`region ${index} has ${size} bytes at ${offset}, and the flags ${flags}`);
  }

  async irqInfo(index: number): Promise<VfioIrqInfo> {
    const argsz = vfio_irq_info.size;
    const reply = await this.#ask('DEVICE_GET_IRQ_INFO', vfio_irq_info.encode({ argsz, index }), argsz);
    const { flags, count } = vfio_irq_info.read(reply.view);
    if (count > most.interrupts) this.#broken(`the device has ${count} interrupts of kind ${index}`);
    return { flags, count };
  }

  /** Reads bytes of a region. */
  async read(region: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#checkTransfer(length);
    const { size } = vfio_user_region_access;
    const reply = await this.#ask('REGION_READ', access(region, offset, length), size + length);
    if (reply.view.byteLength !== size + length) this.#broken(`a read of ${length} bytes gave others`);
    return reply.bytes.subarray(size);
  }

  async write(region: number, offset: number, data: Uint8Array): Promise<void> {
    this.#checkTransfer(data.length);
    await this.#connection.request('REGION_WRITE', [access(region, offset, data.length), data]);
  }

  /** Writes, and does not learn whether it could be. It stays in order with everything else. */
  post(region: number, offset: number, data: Uint8Array): void {
    this.#checkTransfer(data.length);
    this.#connection.post('REGION_WRITE', [access(region, offset, data.length), data]);
  }

  /**
   * Several small writes in one message.
   *
   * @throws {UsageError} NOT_NEGOTIATED when the server does not know such messages.
   */
  async writeMany(writes: readonly VfioWrite[]): Promise<void> {
    if (!this.server.write_multiple) {
      throw new UsageError('NOT_NEGOTIATED', 'the vfio-user server takes no message with several writes');
    }
    await this.#connection.request('REGION_WRITE_MULTI', [
      vfio_user_write_multi.encode({ wr_cnt: BigInt(writes.length) }),
      ...writes.map(({ region, offset, data }) =>
        vfio_user_write.encode({ offset: BigInt(offset), region, count: data.length, data }),
      ),
    ]);
  }

  /** Lets the device reach memory. */
  async mapMemory({ address, size, descriptor, offset = 0 }: DmaMapping): Promise<void> {
    const request = vfio_user_dma_map.encode({
      argsz: vfio_user_dma_map.size,
      flags: dmaFlag.READABLE | dmaFlag.WRITEABLE,
      offset: BigInt(offset),
      address: BigInt(address),
      size: BigInt(size),
    });
    const descriptors = descriptor === undefined ? [] : [descriptor];
    // The device may ask for it before it has answered.
    this.#given.add(address, size);
    await this.#connection.request('DMA_MAP', [request], { descriptors }).catch((error: unknown) => {
      this.#given.remove(address, size);
      throw error;
    });
  }

  /** Takes memory away from the device: exactly what it was given by one `mapMemory`. */
  async unmapMemory({ address, size }: Pick<DmaMapping, 'address' | 'size'>): Promise<void> {
    const request = vfio_user_dma_unmap.encode({
      argsz: vfio_user_dma_unmap.size,
      address: BigInt(address),
      size: BigInt(size),
    });
    await this.#connection.request('DMA_UNMAP', [request]);
    this.#given.remove(address, size);
  }

  /** The device signals these events for interrupts of a kind, from `start` on. The events stay the caller's. */
  async listenIrqs(index: number, start: number, events: readonly Descriptor[]): Promise<void> {
    const flags = irqSetFlag.DATA_EVENTFD | irqSetFlag.ACTION_TRIGGER;
    const most = Math.min(mostDescriptors, Math.max(1, this.server.max_msg_fds));
    for (let at = 0; at < events.length; at += most) {
      const descriptors = events.slice(at, at + most);
      await this.#setIrqs(index, start + at, descriptors.length, flags, descriptors);
    }
  }

  /** Interrupts of a kind are not signalled any more: some of them, or all. */
  async ignoreIrqs(index: number, start = 0, count = 0): Promise<void> {
    const data = count === 0 ? irqSetFlag.DATA_NONE : irqSetFlag.DATA_EVENTFD;
    await this.#setIrqs(index, start, count, data | irqSetFlag.ACTION_TRIGGER);
  }

  /** Holds interrupts back, lets them go again, or makes the device signal them. */
  async actOnIrqs(
    index: number,
    start: number,
    count: number,
    action: 'mask' | 'unmask' | 'trigger',
  ): Promise<void> {
    const flag = {
      mask: irqSetFlag.ACTION_MASK,
      unmask: irqSetFlag.ACTION_UNMASK,
      trigger: irqSetFlag.ACTION_TRIGGER,
    };
    await this.#setIrqs(index, start, count, irqSetFlag.DATA_NONE | flag[action]);
  }

  /** The writes to a region that events can stand for; none where the server has no such. */
  async regionEvents(index: number): Promise<readonly VfioRegionEvent[]> {
    const { size } = vfio_user_region_io_fds;
    const part = vfio_user_sub_region_ioeventfd;
    const argsz = size + own.max_msg_fds * part.size;
    const request = vfio_user_region_io_fds.encode({ argsz, index });
    const { view, descriptors } = await this.#connection.request('DEVICE_GET_REGION_IO_FDS', [request], {
      least: size,
      maxDescriptors: own.max_msg_fds,
    });
    const count = Math.floor((view.byteLength - size) / part.size);
    const parts = Array.from({ length: count }, (_, i) => part.read(view, size + i * part.size));
    return regionEventsOf(parts, descriptors);
  }

  /** True when the device can be carried over to another server. */
  async canMigrate(): Promise<boolean> {
    const flags = deviceFeature.MIGRATION | featureFlag.GET;
    const head = vfio_user_device_feature.size;
    const data = vfio_user_device_feature_migration.size;
    const request = vfio_user_device_feature.encode({ argsz: head + data, flags });
    try {
      const { view } = await this.#ask('DEVICE_FEATURE', request, head + data);
      const found = vfio_user_device_feature_migration.read(view, head).flags;
      return (found & migrationFlag.STOP_COPY) !== 0n;
    } catch (error) {
      if (error instanceof HostError && error.code === 'IO_ERROR') return false;
      throw error;
    }
  }

  /** Stops the device, once all that it had begun is done, and gives its state. It stays stopped. */
  async saveState(): Promise<Uint8Array<ArrayBuffer>> {
    await this.#setMigrationState(migrationState.STOP_COPY);
    const pieces: Uint8Array[] = [];
    const head = vfio_user_mig_data.size;
    const size = Math.min(this.server.max_data_xfer_size, own.max_data_xfer_size);
    for (let last = size, whole = 0; last === size; whole += last) {
      if (whole > mostStateBytes) this.#broken(`a state of more than ${mostStateBytes} bytes`);
      const request = vfio_user_mig_data.encode({ argsz: head + size, size });
      const { view, bytes } = await this.#ask('MIG_DATA_READ', request, head);
      last = vfio_user_mig_data.read(view).size;
      if (last > size || bytes.length !== head + last) this.#broken(`a read of ${size} bytes gave others`);
      pieces.push(bytes.subarray(head));
    }
    await this.#setMigrationState(migrationState.STOP);
    return joined(...pieces);
  }

  /** Has a device that was stopped to save its state go on after all. */
  async goOn(): Promise<void> {
    await this.#setMigrationState(migrationState.RUNNING);
  }

  /** Gives the device a state that another one like it has given, and has it go on from there. Its memory must be mapped. */
  async restoreState(state: Uint8Array): Promise<void> {
    await this.#setMigrationState(migrationState.RESUMING);
    const most = Math.min(this.server.max_data_xfer_size, own.max_data_xfer_size);
    for (let at = 0; at < state.length; at += most) {
      const data = state.subarray(at, at + most);
      const head = vfio_user_mig_data.encode({
        argsz: vfio_user_mig_data.size + data.length,
        size: data.length,
      });
      await this.#connection.request('MIG_DATA_WRITE', [head, data]);
    }
    await this.#setMigrationState(migrationState.RUNNING);
  }

  /**
   * Has the device remember which pages it writes: in these ranges at least, all of memory where there are none. Gives the
   * size of the pages that it tells apart, in bytes.
   */
  async startDmaLogging(
    ranges: readonly Pick<DmaMapping, 'address' | 'size'>[] = [],
    pageSize = 4096,
  ): Promise<number> {
    const control = vfio_user_device_feature_dma_logging_control;
    const data = joined(
      control.encode({ page_size: BigInt(pageSize), num_ranges: ranges.length }),
      ...ranges.map(({ address, size }) =>
        vfio_user_device_feature_dma_logging_range.encode({ iova: BigInt(address), length: BigInt(size) }),
      ),
    );
    const { view } = await this.#setFeature(deviceFeature.DMA_LOGGING_START, data, control.size);
    const { page_size } = control.read(view, vfio_user_device_feature.size);
    if (page_size === 0n || page_size > Number.MAX_SAFE_INTEGER) {
      this.#broken(`the device tells pages of ${page_size} bytes apart`);
    }
    return Number(page_size);
  }

  async stopDmaLogging(): Promise<void> {
    await this.#setFeature(deviceFeature.DMA_LOGGING_STOP, new Uint8Array(0), 0);
  }

  /**
   * The pages of a range that the device has written since it was last asked, one bit for each, the lowest first; it forgets
   * them. As many as one message takes: `max_data_xfer_size` of `server`.
   */
  async dirtyPages(address: number, size: number, pageSize = 4096): Promise<Uint8Array> {
    const report = vfio_user_device_feature_dma_logging_report;
    const bytes = 8 * Math.ceil(Math.ceil(size / pageSize) / 64);
    this.#checkTransfer(bytes);
    const length = vfio_user_device_feature.size + report.size + bytes;
    const flags = deviceFeature.DMA_LOGGING_REPORT | featureFlag.GET;
    const range = { iova: BigInt(address), length: BigInt(size), page_size: BigInt(pageSize) };
    const request = joined(vfio_user_device_feature.encode({ argsz: length, flags }), report.encode(range));
    const reply = await this.#ask('DEVICE_FEATURE', request, length);
    if (reply.bytes.length !== length) this.#broken(`a report of ${bytes} bytes has others`);
    return reply.bytes.subarray(length - bytes);
  }

  async reset(): Promise<void> {
    await this.#connection.request('DEVICE_RESET', []);
  }

  /** Ends the connection. Safe to call twice. */
  close(): void {
    this.#connection.close();
  }

  async #setMigrationState(device_state: number): Promise<void> {
    const data = vfio_user_device_feature_mig_state.encode({ device_state });
    await this.#setFeature(deviceFeature.MIG_DEVICE_STATE, data, 0);
  }

  /** `least`: bytes of data in the reply. */
  #setFeature(feature: number, data: Uint8Array, least: number) {
    const { size } = vfio_user_device_feature;
    const flags = feature | featureFlag.SET;
    const request = vfio_user_device_feature.encode({ argsz: size + data.length, flags });
    return this.#ask('DEVICE_FEATURE', joined(request, data), least === 0 ? 0 : size + least);
  }

  #ask(name: CommandName, request: Uint8Array, least: number) {
    return this.#connection.request(name, [request], { least });
  }

  #setIrqs(
    index: number,
    start: number,
    count: number,
    flags: number,
    descriptors: readonly Descriptor[] = [],
  ): Promise<unknown> {
    const request = vfio_irq_set.encode({ argsz: vfio_irq_set.size, flags, index, start, count });
    return this.#connection.request('DEVICE_SET_IRQS', [request], { descriptors });
  }

  /** Ends the connection to a server that does not keep to the protocol. */
  #broken(why: string): never {
    const error = badMessage(why);
    this.#connection.fail(error);
    throw error;
  }

  #checkTransfer(length: number): void {
    const allowed = Math.min(this.server.max_data_xfer_size, own.max_data_xfer_size);
    if (length <= allowed) return;
    throw new UsageError('BAD_ARGUMENT', `${length} bytes in one access, where ${allowed} are the most`);
  }
}

function access(region: number, offset: number, count: number): Uint8Array {
  return vfio_user_region_access.encode({ offset: BigInt(offset), region, count });
}

/** Events of a region as the server told of them; descriptors that none of them uses are closed. */
function regionEventsOf(
  parts: readonly StructValue<(typeof vfio_user_sub_region_ioeventfd)['codecs']>[],
  descriptors: readonly Descriptor[],
): VfioRegionEvent[] {
  const events: VfioRegionEvent[] = [];
  for (const { offset, size, fd_index, type, flags, datamatch } of parts) {
    const event = descriptors[fd_index];
    const isSound = offset <= Number.MAX_SAFE_INTEGER && datamatch <= Number.MAX_SAFE_INTEGER;
    if (event === undefined || type !== ioFdType.IOEVENTFD || !isSound) continue;
    const value = (flags & ioEventFlag.DATAMATCH) === 0 ? undefined : Number(datamatch);
    events.push({ offset: Number(offset), width: Number(size), value, event });
  }
  for (const one of descriptors) if (!events.some(({ event }) => event === one)) one.close();
  return events;
}
