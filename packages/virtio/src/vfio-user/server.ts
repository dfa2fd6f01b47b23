import type { Channel } from '../channel/channel.ts';
import type { DescriptorHost } from '../channel/descriptors.ts';
import { mostDescriptors } from '../channel/message-reader.ts';
import type { VirtioError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { type Capabilities, decodeVersion, defaultCapabilities, encodeVersion } from './capabilities.ts';
import { type Answer, type Command, refuse } from './command.ts';
import { badMessage, Connection } from './connection.ts';
import { DmaLogging } from './dma-logging.ts';
import { DmaRegions, dmaPageSize } from './dma-regions.ts';
import type { VfioFunction, VfioFunctionHost } from './function.ts';
import { VfioInterrupts } from './interrupts.ts';
import {
  deviceFlag,
  irq,
  irqCount,
  protocolVersion,
  regionCount,
  vfio_user_device_info,
} from './messages.ts';
import { Migration, type VfioMigration } from './migration.ts';
import { RegionEvents } from './region-events.ts';
import { type SharedBar, VfioRegions } from './regions.ts';
import { type ClientLink, ClientMemory } from './remote/client-memory.ts';
import { queueWaker, remoteRing } from './remote/remote-ring.ts';

/** How a function is served. */
export interface VfioUserServerOptions<F extends VfioFunction = VfioFunction> {
  /** What the machine can do with the client's descriptors. */
  readonly descriptors: DescriptorHost;
  /** BARs that the client may map: shared memory regions. */
  readonly shared?: readonly SharedBar[];
  /** How the function is carried over to another server: `pciMigration` of `virtio/transports/pci`. Without it, it is not. */
  readonly migration?: (pciFunction: NoInfer<F>) => VfioMigration;
  /** The most data in one message, in bytes; 1 MiB unless told. */
  readonly maxTransfer?: number;
  /** A client is there: it has said which version it speaks. */
  readonly onConnected?: () => void;
  /** The client is gone, with an error if it broke the protocol or the connection broke. */
  readonly onDisconnected?: (error: VirtioError | undefined) => void;
  /** Hears of commands that were refused, while the connection goes on, and of who broke the protocol before being served. */
  readonly onError?: (error: VirtioError) => void;
}

/** What this side can do; no message with more descriptors than QEMU ever sends. */
const own: Capabilities = {
  max_msg_fds: 16,
  max_data_xfer_size: defaultCapabilities.max_data_xfer_size,
  max_dma_maps: 1024,
  pgsizes: dmaPageSize,
  write_multiple: true,
};

/** Connections that wait for the one that is served to end. */
const mostWaiting = 8;

/**
 * Serves a PCI function to one vfio-user client after the other: a whole device for QEMU's `vfio-user-pci`, or for a
 * `VfioUserClient`. The function lives as long as the server; each client finds it as after power-up.
 *
 * @example
 * const server = new VfioUserServer({ descriptors }, (host) =>
 *   new VmmPciFunction(blkDevice({ storage }), { ...host, msix: msixSignals(host.signalVector), packedRing, inOrder }));
 * listenUnix('/run/disk.sock', (channel) => server.serve(channel));
 */
export class VfioUserServer<F extends VfioFunction = VfioFunction> {
  /** What is served. */
  readonly pciFunction: F;
  readonly #options: VfioUserServerOptions<F>;
  readonly #memory = new GuestMemory();
  readonly #dma: DmaRegions;
  readonly #regions: VfioRegions;
  readonly #interrupts: VfioInterrupts;
  readonly #regionEvents: RegionEvents;
  readonly #migration: Migration | undefined;
  readonly #logging: DmaLogging;
  readonly #waiting: Connection[] = [];
  #connection: Connection | undefined;
  /** What the client can do, once it has said so. */
  #client: Capabilities | undefined;
  #isClosed = false;

  /** `makeFunction` is called once, with what the function shall use. */
  constructor(options: VfioUserServerOptions<F>, makeFunction: (host: VfioFunctionHost) => F) {
    this.#options = options;
    const { descriptors, shared = [], maxTransfer = own.max_data_xfer_size } = options;
    this.#dma = new DmaRegions(this.#memory, descriptors, own.max_dma_maps);
    const core = () => this.pciFunction.core;
    const logging = new DmaLogging(this.#memory, core, maxTransfer);
    this.#logging = logging;
    const clientMemory = new ClientMemory(this.#dma, {
      link: () => this.#link,
      wrote: (address, length) => logging.wrote(address, length),
    });
    const opened = (...ring: Parameters<DmaLogging['opened']>): void => logging.opened(...ring);
    let interrupts: VfioInterrupts | undefined;
    const pciFunction = makeFunction({
      memory: this.#memory,
      remoteRing: remoteRing(clientMemory, queueWaker(core), opened),
      setInterruptLine: (level) => interrupts?.setLine(level),
      signalVector: (vector) => interrupts?.signalVector(vector) ?? false,
    });
    const counts = { lines: pciFunction.interruptPin === 0 ? 0 : 1, vectors: pciFunction.msixVectors };
    interrupts = new VfioInterrupts(descriptors, counts, () => pciFunction.vectorsReady());
    this.pciFunction = pciFunction;
    this.#interrupts = interrupts;
    this.#regions = new VfioRegions(pciFunction, shared, maxTransfer);
    this.#regionEvents = new RegionEvents(pciFunction, descriptors);
    const movable = options.migration?.(pciFunction);
    this.#migration = movable && new Migration(movable, maxTransfer);
  }

  /** True while a client is there. */
  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** Serves the client at the other end of a channel, when the one that is served now has left. */
  serve(channel: Channel): void {
    if (this.#isClosed || this.#waiting.length === mostWaiting) {
      channel.close();
      return;
    }
    const { maxTransfer = own.max_data_xfer_size } = this.#options;
    const connection: Connection = new Connection(
      channel,
      'server',
      { maxTransfer, maxDescriptors: own.max_msg_fds },
      {
        command: (command) => this.#command(command),
        refused: (error) => this.#options.onError?.(error),
        closed: (error) => this.#ended(connection, error),
      },
    );
    this.#waiting.push(connection);
    this.#next();
  }

  /** Asks the client to let the device go, as before the server ends; false when it does not listen to that. */
  askForRelease(): boolean {
    return this.#interrupts.tell(irq.REQ);
  }

  /** Tells the client that the device is broken for good: QEMU stops the machine. False when it does not listen to that. */
  reportError(): boolean {
    return this.#interrupts.tell(irq.ERR);
  }

  /** Ends the connections, and takes no more. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#waiting.splice(0)) connection.close();
    this.#connection?.close();
    this.#left(undefined);
  }

  /** How the client is asked for memory that it does not share. */
  get #link(): ClientLink | undefined {
    const { maxTransfer = own.max_data_xfer_size } = this.#options;
    if (this.#connection === undefined || this.#client === undefined) return undefined;
    const { max_data_xfer_size } = this.#client;
    return { connection: this.#connection, maxTransfer: Math.min(maxTransfer, max_data_xfer_size) };
  }

  #next(): void {
    if (this.#connection !== undefined) return;
    this.#connection = this.#waiting.shift();
    this.#connection?.start();
  }

  /** One that still waited makes room for others. */
  #ended(connection: Connection, error: VirtioError | undefined): void {
    const at = this.#waiting.indexOf(connection);
    if (at === -1) {
      this.#left(error);
      return;
    }
    this.#waiting.splice(at, 1);
    if (error !== undefined) this.#options.onError?.(error);
  }

  /** Everything that was the client's is let go. Its driver is gone, and so are its queues: the function is reset. */
  #left(error: VirtioError | undefined): void {
    if (this.#connection === undefined) return;
    const wasConnected = this.connected;
    this.#connection = undefined;
    this.#client = undefined;
    this.#reset();
    this.#interrupts.clear();
    this.#regionEvents.clear();
    this.#dma.clear();
    this.#logging.clear();
    if (wasConnected || error !== undefined) this.#options.onDisconnected?.(error);
    this.#next();
  }

  #command(command: Command): Answer | Promise<Answer> {
    if (command.name === 'VERSION') return this.#version(command);
    if (this.#client === undefined) throw badMessage(`${command.name} came before VERSION`);
    switch (command.name) {
      case 'DMA_MAP':
        return this.#dma.map(command);
      case 'DMA_UNMAP':
        return this.#dma.unmap(command);
      case 'DEVICE_GET_INFO':
        return deviceInfo(command);
      case 'DEVICE_GET_REGION_INFO':
        return this.#regions.info(command);
      case 'DEVICE_GET_REGION_IO_FDS':
        return this.#regionEvents.answer(command, Math.min(this.#client.max_msg_fds, mostDescriptors));
      case 'DEVICE_GET_IRQ_INFO':
        return this.#interrupts.info(command);
      case 'DEVICE_SET_IRQS':
        return this.#interrupts.set(command);
      case 'REGION_READ':
        return this.#regions.read(command);
      case 'REGION_WRITE':
        return this.#regions.write(command);
      case 'REGION_WRITE_MULTI':
        return this.#regions.writeMulti(command);
      case 'DEVICE_RESET':
        this.#reset();
        return {};
      case 'DEVICE_FEATURE':
        return (
          this.#logging.feature(command) ??
          this.#migration?.feature(command) ??
          refuse('ENOTTY', 'there is no migration')
        );
      case 'MIG_DATA_READ':
        return this.#migration?.read(command) ?? refuse('EOPNOTSUPP', 'there is no migration');
      case 'MIG_DATA_WRITE':
        return this.#migration?.write(command) ?? refuse('EOPNOTSUPP', 'there is no migration');
      default:
        return refuse('EOPNOTSUPP', 'it is not supported');
    }
  }

  #reset(): void {
    this.pciFunction.reset();
    this.#migration?.reset();
  }

  /** Answers with what both sides know: the version, and of what the client named this side's values. */
  #version(command: Command): Answer {
    if (this.#client !== undefined) throw badMessage('VERSION came a second time');
    const { major, named } = decodeVersion(command.view);
    if (major !== protocolVersion.major) {
      throw badMessage(`the client speaks version ${major}, not ${protocolVersion.major}`);
    }
    const { maxTransfer = own.max_data_xfer_size } = this.#options;
    const values = Object.entries({ ...own, max_data_xfer_size: maxTransfer });
    this.#client = { ...defaultCapabilities, ...named };
    this.#options.onConnected?.();
    return { payload: [encodeVersion(Object.fromEntries(values.filter(([name]) => name in named)))] };
  }
}

function deviceInfo(command: Command): Answer {
  const { argsz } = command.read(vfio_user_device_info);
  const { size } = vfio_user_device_info;
  if (argsz < size) refuse('EINVAL', `argsz is ${argsz}, fewer than ${size}`);
  const flags = deviceFlag.RESET | deviceFlag.PCI;
  const info = { argsz: size, flags, num_regions: regionCount, num_irqs: irqCount };
  return { payload: [vfio_user_device_info.encode(info)] };
}
