import type { ActiveQueue } from '../../device/active-queue.ts';
import type { ActiveDevice } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import { encodeFor } from '../../spec/guest-endian.ts';
import { encodeUtf8 } from '../../spec/utf8.ts';
import type { ReadableCursor } from '../../virtqueue/chain.ts';
import { ConsolePort, type PortOptions, type PortOwner } from './device-port.ts';
import { Outbox } from './outbox.ts';
import type { PortsState } from './saved.ts';
import {
  type ConsoleSize,
  type consoleType,
  controlEvent,
  virtio_console_control,
  virtio_console_resize,
} from './spec.ts';

/** What the ports of a device are like. */
export interface PortsOptions {
  readonly maxPorts: number;
  /** Sizes are told to the driver. */
  readonly sizes: boolean;
  /** Rows come before columns in a RESIZE. */
  readonly rowsFirst: boolean;
}

/** The ports of a console device, and what is said of them through the control queues. */
export class Ports implements PortOwner {
  /** Called when port 0 is resized. */
  onConsoleSize: (size: ConsoleSize) => void = () => {};
  readonly #options: PortsOptions;
  readonly #ports: (ConsolePort | undefined)[];
  readonly #outbox = new Outbox();
  #active: ActiveDevice<typeof consoleType> | undefined;
  #driverReady = false;

  constructor(options: PortsOptions) {
    this.#options = options;
    this.#ports = Array.from({ length: options.maxPorts }, () => undefined);
  }

  get all(): ConsolePort[] {
    return this.#ports.filter((port) => port !== undefined);
  }

  at(id: number): ConsolePort | undefined {
    return this.#ports[id];
  }

  /** @throws {UsageError} QUEUE_FULL when there are as many ports as there can be. */
  add(options: PortOptions): ConsolePort {
    const id = this.#ports.indexOf(undefined);
    if (id === -1)
      throw new UsageError('QUEUE_FULL', `there are ${this.#ports.length} ports, and no more can be`);
    const port = new ConsolePort(id, options, this);
    this.#ports[id] = port;
    this.#announce(port);
    return port;
  }

  /**
   * Settles when the port's number is free again: the driver takes back a removed port's buffers, so none may
   * be with the host by then.
   *
   * @spec 5.3.6.2.1 device: Device Types / Console Device / Device Operation / Multiport Device Operation
   */
  async remove(port: ConsolePort): Promise<void> {
    if (port.id === 0 || this.#ports[port.id] !== port) {
      throw new UsageError('BAD_ARGUMENT', `port ${port.id} is no port that can be removed`);
    }
    const ended = port.end();
    await ended;
    if (this.#ports[port.id] !== port) return;
    this.#ports[port.id] = undefined;
    const unheard = this.#outbox.withdraw(port.id);
    if (port.announced && !unheard) this.#post(port.id, controlEvent.DEVICE_REMOVE, 0);
    port.forgetGuest();
  }

  activate(active: ActiveDevice<typeof consoleType>): void {
    this.#active = active;
    if (!active.has('MULTIPORT')) this.at(0)?.setGuestOpen(true);
  }

  forgetGuest(): void {
    this.#active = undefined;
    this.#driverReady = false;
    this.#outbox.clear();
    for (const port of this.all) port.forgetGuest();
  }

  /** Messages of the driver. Those of a port that does not exist may have crossed its removal. */
  control(message: ReadableCursor): void {
    const { id, event, value } = message.struct(virtio_console_control);
    if (event === controlEvent.DEVICE_READY) {
      this.#driverReady = value === 1;
      for (const port of this.all) this.#announce(port);
      return;
    }
    const port = this.at(id);
    if (port === undefined || !port.announced) return;
    if (event === controlEvent.PORT_READY) {
      port.ready = value === 1;
      if (port.ready) this.#describe(port);
    } else if (event === controlEvent.PORT_OPEN) {
      port.setGuestOpen(value !== 0);
      this.inputAdded(port);
    }
  }

  sendControl(queue: ActiveQueue): void {
    this.#outbox.send(queue);
  }

  buffersAdded(id: number): void {
    const port = this.at(id);
    if (port !== undefined) this.inputAdded(port);
  }

  inputAdded(port: ConsolePort): void {
    const queue = this.#active?.queue('receiveq', port.id);
    if (queue !== undefined) port.sendInput(queue);
  }

  hostOpenChanged(port: ConsolePort): void {
    if (port.ready) this.#post(port.id, controlEvent.PORT_OPEN, port.hostOpen ? 1 : 0);
  }

  resized(port: ConsolePort): void {
    if (port.id === 0) this.onConsoleSize(port.size);
    if (port.ready) this.#postSize(port);
  }

  save(): PortsState {
    return {
      driverReady: this.#driverReady,
      ports: this.all.map((port) => port.save()),
      messages: this.#outbox.save(),
    };
  }

  /**
   * Ports that are here and were there go on; the driver is told of those that are here alone, or were there
   * alone.
   */
  restore(state: PortsState): void {
    this.#driverReady = state.driverReady;
    for (const { payload, ...message } of state.messages) {
      this.#outbox.post({ ...message, payload: Uint8Array.from(payload) });
    }
    for (const saved of state.ports) {
      const port = this.at(saved.id);
      if (port?.name === saved.name) {
        port.restore(saved);
        continue;
      }
      const unheard = this.#outbox.withdraw(saved.id);
      if (saved.announced && !unheard) this.#post(saved.id, controlEvent.DEVICE_REMOVE, 0);
    }
    for (const port of this.all) if (!port.announced) this.#announce(port);
  }

  /** @spec 5.3.6.2.1 device: Device Types / Console Device / Device Operation / Multiport Device Operation */
  #announce(port: ConsolePort): void {
    if (!this.#driverReady || port.announced) return;
    port.announced = true;
    this.#post(port.id, controlEvent.DEVICE_ADD, 0);
  }

  /** Everything that the driver may want to know of a port that it has set up. */
  #describe(port: ConsolePort): void {
    if (port.isConsole) this.#post(port.id, controlEvent.CONSOLE_PORT, 1);
    if (port.isConsole) this.#postSize(port);
    if (port.name !== '') this.#post(port.id, controlEvent.PORT_NAME, 1, encodeUtf8(port.name));
    if (port.hostOpen) this.#post(port.id, controlEvent.PORT_OPEN, 1);
  }

  #postSize({ id, size }: ConsolePort): void {
    if (!this.#options.sizes) return;
    const { cols, rows } = size;
    const fields = this.#options.rowsFirst ? { cols: rows, rows: cols } : { cols, rows };
    const payload = encodeFor(this.#active?.endian ?? 'little', virtio_console_resize, fields);
    this.#post(id, controlEvent.RESIZE, 0, payload);
  }

  #post(id: number, event: number, value: number, payload?: Uint8Array): void {
    this.#outbox.post({ id, event, value, ...(payload === undefined ? {} : { payload }) });
    const queue = this.#active?.queue('control receiveq');
    if (queue !== undefined) this.#outbox.send(queue);
  }
}
