import { writeConfigField } from '../../driver/config.ts';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { NegotiatedDevice, OpenOptions, QueueChoice } from '../../driver/options.ts';
import type { OpenQueue } from '../../driver/queue.ts';
import type { Transport } from '../../driver/transport.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import { decodeUtf8 } from '../../spec/utf8.ts';
import { OpenPort } from './driver-port.ts';
import { Receiver } from './receiver.ts';
import {
  consoleClauses,
  consoleType,
  controlEvent,
  virtio_console_control,
  virtio_console_resize,
} from './spec.ts';

/** How a driver wants its console. */
export interface OpenConsoleOptions
  extends Pick<OpenOptions<typeof consoleType>, 'reserved' | 'indirectPolicy' | 'onFailure'> {
  /** Of the device's own features, those to accept; all, unless told. */
  readonly features?: OpenOptions<typeof consoleType>['features'];
  /** Ports to make queues for, where the device has more; 16 unless told. */
  readonly maxPorts?: number;
  /** A port has appeared. Its name, if it has one, comes later. */
  readonly onPort?: (port: OpenPort) => void;
  /** A port is gone. */
  readonly onPortRemoved?: (port: OpenPort) => void;
}

/** Descriptors in each queue: a port has two queues, and needs few. */
const queueSize = 64;

/** Buffers of the control receiveq, and the bytes in each: a header and the longest name that we take. */
const controlBuffers = 8;
const controlLength = 512;

/** A console that is open. */
export class OpenConsole {
  readonly #device: OpenDevice<typeof consoleType>;
  readonly #options: OpenConsoleOptions;
  readonly #maxPorts: number;
  readonly #ports = new Map<number, OpenPort>();
  /** Of every port that there has been: its buffers stay with the device when it goes. */
  readonly #receivers = new Map<number, Receiver>();
  readonly #waiting: {
    readonly which: number | string;
    resolve(port: OpenPort): void;
    reject(error: Error): void;
  }[] = [];
  #closed = false;

  /** @internal Use {@link openConsole}. */
  constructor(device: OpenDevice<typeof consoleType>, options: OpenConsoleOptions, maxPorts: number) {
    this.#device = device;
    this.#options = options;
    this.#maxPorts = maxPorts;
  }

  /** True when VIRTIO_CONSOLE_F_MULTIPORT was negotiated: without it, there is port 0 alone. */
  get multiport(): boolean {
    return this.#device.has('MULTIPORT');
  }

  /** The ports that the device has announced. */
  get ports(): readonly OpenPort[] {
    return [...this.#ports.values()];
  }

  /**
   * The port of a number or name, as soon as the device announces it.
   *
   * @throws {HostError} DEVICE_GONE when the console is closed before.
   */
  port(which: number | string): Promise<OpenPort> {
    const port = this.ports.find((candidate) => isMeant(candidate, which));
    if (port !== undefined) return Promise.resolve(port);
    const over = this.#closed ? gone() : this.#device.failure;
    if (over !== undefined) return Promise.reject(over);
    return new Promise((resolve, reject) => this.#waiting.push({ which, resolve, reject }));
  }

  /**
   * Puts out characters without the queues.
   *
   * @throws {UsageError} NOT_NEGOTIATED when the device does not offer EMERG_WRITE.
   */
  emergencyWrite(bytes: Uint8Array): Promise<void> {
    return emergencyWrite(this.#device.transport, bytes);
  }

  /** Resets the device and lets go of it. Reading ends; writes that wait fail with DEVICE_GONE. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#device.close();
    this.#finish(undefined);
  }

  /**
   * The queues are live.
   *
   * @internal
   * @spec 5.3.6.2.2 driver: Device Types / Console Device / Device Operation / Multiport Device Operation
   */
  async start(): Promise<void> {
    if (!this.multiport) {
      const port = this.#add(0);
      port.setConsole();
      port.setHostOpen(true);
      return;
    }
    const queue = this.#device.queue('control receiveq');
    const count = Math.min(controlBuffers, queue.size);
    for (let i = 0; i < count; i++) this.#offerControl(queue, queue.allocate(controlLength));
    await this.#send(0, controlEvent.DEVICE_READY, 1);
  }

  /** @internal The size of port 0 may have changed. */
  configChanged(): void {
    this.#device.refreshConfig().then(
      () => this.#sizeFromConfig(),
      (error: Error) => this.#device.fail(error),
    );
  }

  /** @internal */
  failed(error: Error): void {
    this.#finish(error);
    this.#options.onFailure?.(error);
  }

  /** A buffer goes back to the device when its message is answered: an unheard answer stops the flow. */
  #offerControl(queue: OpenQueue, address: number): void {
    queue.submit([], [{ address, length: controlLength }], (length, failure) => {
      if (failure !== undefined) return;
      this.#control(queue.memory.read(address, length)).then(
        () => {
          if (!queue.closed) this.#offerControl(queue, address);
        },
        (error: Error) => {
          this.#device.fail(error);
        },
      );
    });
  }

  /**
   * @throws {PeerError} BAD_RESPONSE for a message that no device may send.
   * @spec 5.3.6.2.2 driver: Device Types / Console Device / Device Operation / Multiport Device Operation
   */
  async #control(bytes: Uint8Array): Promise<void> {
    const view = this.#device.view(bytes);
    if (bytes.length < virtio_console_control.size)
      throw malformed(`a control message of ${bytes.length} bytes`);
    const { id, event, value } = virtio_console_control.read(view);
    if (event === controlEvent.DEVICE_ADD) return this.#portAdded(id);
    const port = this.#ports.get(id);
    if (event === controlEvent.DEVICE_REMOVE) return this.#portRemoved(id, port);
    // A port that we had no queues for, or a device that is early: nothing depends on it.
    if (port === undefined) return;
    const payload = virtio_console_control.size;
    if (event === controlEvent.CONSOLE_PORT) {
      port.setConsole();
      await port.open();
    } else if (event === controlEvent.PORT_OPEN) {
      port.setHostOpen(value !== 0);
    } else if (event === controlEvent.PORT_NAME) {
      port.setName(nameOf(bytes.subarray(payload)));
      this.#appeared(port);
    } else if (event === controlEvent.RESIZE) {
      if (bytes.length < payload + virtio_console_resize.size) throw malformed('a RESIZE without a size');
      port.setSize(virtio_console_resize.read(view, payload));
    }
  }

  async #portAdded(id: number): Promise<void> {
    const { max_nr_ports = 0 } = this.#device.config;
    if (id >= max_nr_ports) throw malformed(`port ${id} was added where at most ${max_nr_ports} can be`);
    if (this.#ports.has(id)) throw malformed(`port ${id} was added twice`);
    const fits = id < this.#maxPorts;
    if (fits) this.#add(id);
    await this.#send(id, controlEvent.PORT_READY, fits ? 1 : 0);
  }

  #portRemoved(id: number, port: OpenPort | undefined): void {
    if (port === undefined) {
      if (id < this.#maxPorts) throw malformed(`port ${id} was removed, and there is none`);
      return;
    }
    this.#ports.delete(id);
    this.#receivers.get(id)?.finish();
    port.remove();
    this.#options.onPortRemoved?.(port);
  }

  #add(id: number): OpenPort {
    let receiver = this.#receivers.get(id);
    if (receiver === undefined) {
      receiver = new Receiver(this.#device.queue('receiveq', id));
      this.#receivers.set(id, receiver);
    } else {
      receiver.restart();
    }
    const transmitq = this.#device.queue('transmitq', id);
    const openEnd = async (open: boolean): Promise<void> => {
      if (this.multiport) await this.#send(id, controlEvent.PORT_OPEN, open ? 1 : 0);
    };
    const port = new OpenPort(id, receiver, transmitq, openEnd);
    this.#ports.set(id, port);
    if (id === 0) this.#sizeFromConfig();
    this.#options.onPort?.(port);
    this.#appeared(port);
    return port;
  }

  #appeared(port: OpenPort): void {
    for (const wait of this.#waiting.filter(({ which }) => isMeant(port, which))) {
      this.#waiting.splice(this.#waiting.indexOf(wait), 1);
      wait.resolve(port);
    }
  }

  #sizeFromConfig(): void {
    if (!this.#device.has('SIZE')) return;
    const { cols = 0, rows = 0 } = this.#device.config;
    this.#ports.get(0)?.setSize({ cols, rows });
  }

  async #send(id: number, event: number, value: number): Promise<void> {
    const message = this.#device.encode(virtio_console_control, { id, event, value });
    await this.#device.queue('control transmitq').request(message, 0);
  }

  #finish(failure: Error | undefined): void {
    for (const receiver of this.#receivers.values()) receiver.finish(failure);
    for (const { reject } of this.#waiting.splice(0)) reject(failure ?? gone());
  }
}

/**
 * Opens a console, with or without MULTIPORT, as the device has it.
 *
 * @example
 * const hvc = await openConsole(transport);
 * const port = await hvc.port(0);
 * await port.write(encode('uname -a\n'));
 * for await (const bytes of port) show(bytes);
 *
 * @throws what `open` throws; {PeerError} LAYOUT_INVALID when the device has MULTIPORT and no port.
 * @spec 5.3.6.1 driver: Device Types / Console Device / Device Operation
 */
export async function openConsole(
  transport: Transport,
  options: OpenConsoleOptions = {},
): Promise<OpenConsole> {
  let opened: OpenConsole | undefined;
  let ports = 1;
  const device = await open(transport, consoleType, {
    ...options,
    features: options.features ?? ['SIZE', 'MULTIPORT', 'EMERG_WRITE'],
    queueSize,
    queues(negotiated) {
      ports = portCount(negotiated, options.maxPorts ?? 16);
      return queuesOf(ports, negotiated.has('MULTIPORT'));
    },
    onConfigChange: () => opened?.configChanged(),
    onFailure: (error) => opened?.failed(error),
  });
  opened = new OpenConsole(device, options, ports);
  try {
    await opened.start();
    return opened;
  } catch (error) {
    // A device that cannot even be reset is no news.
    await device.abandon().catch(() => {});
    throw error;
  }
}

/**
 * Puts out characters through the configuration space of a device in any state: nothing is negotiated.
 *
 * @throws {UsageError} NOT_NEGOTIATED when the device does not offer EMERG_WRITE.
 */
export async function emergencyWrite(transport: Transport, bytes: Uint8Array): Promise<void> {
  const offered = await transport.readDeviceFeatures();
  if (!offered.has(consoleType.features.EMERG_WRITE)) {
    throw new UsageError('NOT_NEGOTIATED', 'the console does not offer VIRTIO_CONSOLE_F_EMERG_WRITE');
  }
  for (const byte of bytes) await writeConfigField(transport, consoleType, 'emerg_wr', byte);
}

function portCount(device: NegotiatedDevice<typeof consoleType>, most: number): number {
  if (!device.has('MULTIPORT')) return 1;
  const { max_nr_ports = 0 } = device.config;
  if (max_nr_ports === 0) throw new PeerError('LAYOUT_INVALID', 'the console offers MULTIPORT, and no port');
  return Math.min(max_nr_ports, most);
}

function queuesOf(ports: number, multiport: boolean): QueueChoice<typeof consoleType>[] {
  const numbers = Array.from({ length: ports }, (_, number) => number);
  const control = [{ name: 'control receiveq' as const }, { name: 'control transmitq' as const }];
  return [
    ...numbers.flatMap((number) => [
      { name: 'receiveq' as const, number },
      { name: 'transmitq' as const, number },
    ]),
    ...(multiport ? control : []),
  ];
}

/** There is to be no NUL behind it, but QEMU sends one. */
const nameOf = (bytes: Uint8Array): string => decodeUtf8(bytes.at(-1) === 0 ? bytes.subarray(0, -1) : bytes);

const isMeant = (port: OpenPort, which: number | string): boolean => port.id === which || port.name === which;

const gone = (): HostError => new HostError('DEVICE_GONE', 'the console was closed');

const malformed = (what: string): PeerError =>
  new PeerError('BAD_RESPONSE', `the console sent ${what}`, consoleClauses.ports);
