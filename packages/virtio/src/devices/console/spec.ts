import type { ClauseId } from '../../spec/clauses.ts';
import { deviceType } from '../../spec/device-type.ts';
import { le16, le32, type Struct, type StructValue, struct } from '../../spec/layout.ts';

const configFields = {
  /** Characters in a line of port 0, with SIZE. */
  cols: le16,
  rows: le16,
  /** Ports there can be, with MULTIPORT: their numbers are below it. */
  max_nr_ports: le32,
  /** Takes a character in its low byte, with EMERG_WRITE: at any time, from a driver in any state. */
  emerg_wr: le32,
} as const;

/** The configuration structure of a console. */
export const virtio_console_config: Struct<typeof configFields> = struct(
  'virtio_console_config',
  configFields,
);

/** The console: port 0 for text, and with MULTIPORT further ports for anything. */
export const consoleType = deviceType({
  id: 3,
  name: 'console',
  queues: {
    receiveq: { first: [0], from: 4, every: 2, numberedFrom: 0 },
    transmitq: { first: [1], from: 5, every: 2, numberedFrom: 0 },
    'control receiveq': { first: [2], requires: 'MULTIPORT' },
    'control transmitq': { first: [3], requires: 'MULTIPORT' },
  },
  features: { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 },
  config: virtio_console_config,
  configRequires: { cols: 'SIZE', rows: 'SIZE', max_nr_ports: 'MULTIPORT', emerg_wr: 'EMERG_WRITE' },
  driverWritable: ['emerg_wr'],
  // A communication controller of no more particular kind.
  pciClass: 0x0780,
});

const controlFields = {
  /** Port number. */
  id: le32,
  /** One of {@link controlEvent}. */
  event: le16,
  value: le16,
} as const;

/** What goes through the control queues; a name or a size may follow. */
export const virtio_console_control: Struct<typeof controlFields> = struct(
  'virtio_console_control',
  controlFields,
);

/** What a control message is about. */
export const controlEvent = Object.freeze({
  /** Driver: it can take control messages, or (value 0) cannot. */
  DEVICE_READY: 0,
  /** Device: there is a new port. */
  DEVICE_ADD: 1,
  /** Device: a port is gone. */
  DEVICE_REMOVE: 2,
  /** Driver: it has set the port up, or (value 0) could not. */
  PORT_READY: 3,
  /** Device: the port is for text. */
  CONSOLE_PORT: 4,
  /** Device: the port's size, which follows. */
  RESIZE: 5,
  /** Both: the sender opened (value 1) or closed (0) its end of the port. */
  PORT_OPEN: 6,
  /** Device: the port's name, which follows. */
  PORT_NAME: 7,
} as const);

const resizeFields = { cols: le16, rows: le16 } as const;

/** What follows a RESIZE. */
export const virtio_console_resize: Struct<typeof resizeFields> = struct(
  'virtio_console_resize',
  resizeFields,
);

/** Characters in a line, and lines. */
export type ConsoleSize = StructValue<typeof resizeFields>;

/** True for two numbers that fit their fields. */
export function isConsoleSize({ cols, rows }: { readonly cols: unknown; readonly rows: unknown }): boolean {
  return [cols, rows].every(
    (count) => Number.isInteger(count) && Number(count) >= 0 && Number(count) <= 0xffff,
  );
}

/** The clauses that a peer can break in a way that the other side sees. */
export const consoleClauses = Object.freeze({
  direction: 'driver: Device Types / Console Device / Device Operation',
  ports: 'device: Device Types / Console Device / Device Operation / Multiport Device Operation',
} as const satisfies Record<string, ClauseId>);
