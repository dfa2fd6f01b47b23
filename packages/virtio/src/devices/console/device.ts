import { Device } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import { encodeUtf8 } from '../../spec/utf8.ts';
import type { ConsolePort, PortOptions } from './device-port.ts';
import { Ports } from './device-ports.ts';
import { misdirected } from './outbox.ts';
import { asPortsState } from './saved.ts';
import { consoleType, isConsoleSize } from './spec.ts';

/** How a console device is made: its port 0, and what else it has. */
export interface ConsoleOptions extends Omit<PortOptions, 'console'> {
  /** Further ports, numbered from 1. */
  readonly ports?: readonly PortOptions[];
  /** Ports that there can be, 1 to 1024; 4 or as many as are given, unless told. More queues for each. */
  readonly maxPorts?: number;
  /** What the device offers; everything, unless told. */
  readonly offers?: readonly OwnFeatureNameOf<typeof consoleType>[];
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
  /** Takes a character of an emergency write; port 0's `onData` takes it, unless told. */
  readonly onEmergencyWrite?: (byte: number) => unknown;
  /**
   * The order of the two fields of a RESIZE message: columns first, as specified, unless told. Linux took rows
   * first until its fix of 2025. Without MULTIPORT it makes no difference.
   */
  readonly resizeOrder?: 'cols-rows' | 'rows-cols';
}

const everything = ['SIZE', 'MULTIPORT', 'EMERG_WRITE'] as const;

/** The most ports that we make queues for. */
const portsLimit = 1024;

/** A console: port 0 for text, and further ports that a guest finds by name. */
export class ConsoleDevice extends Device<typeof consoleType> {
  readonly #ports: Ports;

  /** @internal Use {@link consoleDevice}. */
  constructor(options: ConsoleOptions) {
    const { offers = everything, ports: further = [], onEmergencyWrite } = options;
    const multiport = offers.includes('MULTIPORT');
    const maxPorts = multiport ? (options.maxPorts ?? Math.max(4, 1 + further.length)) : 1;
    checkPorts(maxPorts, [options, ...further], multiport);
    const sizes = offers.includes('SIZE');
    const ports = new Ports({ maxPorts, sizes, rowsFirst: options.resizeOrder === 'rows-cols' });
    const console = ports.add({ ...options, console: true });
    for (const port of further) ports.add(port);
    const emergency = onEmergencyWrite ?? ((byte: number) => console.receiveByte(byte));

    super(consoleType, {
      offers,
      reserved: options.reserved,
      queues: { receiveq: { count: maxPorts }, transmitq: { count: maxPorts } },
      config: { ...(sizes ? console.size : {}), ...(multiport ? { max_nr_ports: maxPorts } : {}) },
      activate: (active) => ports.activate(active),
      available: {
        receiveq: ({ number }) => ports.buffersAdded(number),
        'control receiveq': (queue) => ports.sendControl(queue),
      },
      serve: {
        transmitq({ readable, writable }, { label, number }) {
          if (writable.length > 0) throw misdirected(label, 'writable');
          return ports.at(number)?.receive(readable);
        },
        'control transmitq'({ readable, writable }, { label }) {
          if (writable.length > 0) throw misdirected(label, 'writable');
          ports.control(readable);
        },
      },
      writeConfig(_field, value) {
        const settled = offers.includes('EMERG_WRITE') ? emergency(Number(value) & 0xff) : undefined;
        return settled instanceof Promise ? settled : undefined;
      },
      reset: () => ports.forgetGuest(),
      save: () => ports.save(),
      restore: (state) => ports.restore(asPortsState(state)),
    });
    this.#ports = ports;
    ports.onConsoleSize = (size) => {
      if (sizes) this.updateConfig(size);
    };
  }

  /** Port 0: the console of every driver, with or without MULTIPORT. */
  get console(): ConsolePort {
    return this.port(0);
  }

  /** The ports that there are, by number. */
  get ports(): readonly ConsolePort[] {
    return this.#ports.all;
  }

  /**
   * A port by its number or name.
   *
   * @throws {UsageError} UNKNOWN_NAME when there is none.
   */
  port(which: number | string): ConsolePort {
    const port = this.ports.find(({ id, name }) => id === which || (name === which && name !== ''));
    if (port === undefined) throw new UsageError('UNKNOWN_NAME', `there is no port ${which}`);
    return port;
  }

  /**
   * Plugs a port in; a driver that runs hears of it.
   *
   * @throws {UsageError} QUEUE_FULL when there are `maxPorts` already; BAD_ARGUMENT for a name that is taken.
   */
  addPort(options: PortOptions): ConsolePort {
    if (this.ports.some(({ name }) => name !== '' && name === options.name)) throw nameTaken(options.name);
    encodeUtf8(options.name ?? '');
    return this.#ports.add(options);
  }

  /**
   * Unplugs a port. Settles when its number may be given to another.
   *
   * @throws {UsageError} BAD_ARGUMENT for port 0, and for a port that is not of this device.
   */
  removePort(port: ConsolePort): Promise<void> {
    return this.#ports.remove(port);
  }
}

/**
 * Makes a console.
 *
 * @example
 * const hvc = consoleDevice({ onData: (bytes) => terminal.write(bytes), size: { cols: 80, rows: 25 } });
 * terminal.onData((text) => hvc.console.write(encode(text)));
 * terminal.onResize(({ cols, rows }) => hvc.console.resize(cols, rows));
 *
 * @throws {UsageError} BAD_ARGUMENT for ports that cannot be: too many, of one name, or without MULTIPORT.
 * @spec 5.3.5.1 device: Device Types / Console Device / Device Initialization
 */
export function consoleDevice(options: ConsoleOptions = {}): ConsoleDevice {
  return new ConsoleDevice(options);
}

function checkPorts(maxPorts: number, ports: readonly PortOptions[], multiport: boolean): void {
  if (!Number.isInteger(maxPorts) || maxPorts < 1 || maxPorts > portsLimit) {
    throw new UsageError('BAD_ARGUMENT', `a console has 1 to ${portsLimit} ports, not ${maxPorts}`);
  }
  if (ports.length > maxPorts) {
    const why = multiport ? `only ${maxPorts} can be` : 'MULTIPORT is not offered';
    throw new UsageError('BAD_ARGUMENT', `${ports.length} ports were given, and ${why}`);
  }
  for (const { size } of ports) {
    if (size !== undefined && !isConsoleSize(size)) {
      throw new UsageError('BAD_ARGUMENT', `${size.cols} by ${size.rows} is no size`);
    }
  }
  const names = ports.map(({ name = '' }) => name).filter((name) => name !== '');
  for (const [at, name] of names.entries()) {
    encodeUtf8(name);
    if (names.indexOf(name) !== at) throw nameTaken(name);
  }
}

const nameTaken = (name = ''): UsageError =>
  new UsageError('BAD_ARGUMENT', `a port is named ${name} already`);
