import { type Device, offeredNames, type TraceEvent, type Tracer, withMessages } from 'virtio/device';
import type { HostError } from 'virtio/errors';
import { statusNames } from 'virtio/spec';
import { messagesOf } from '../device-types.ts';
import { GatheredFile } from '../gathered-file.ts';
import { jsonSchema } from '../output.ts';
import { specVersion } from '../version.ts';

/** A device under the name by which the trace calls it. */
export interface NamedDevice {
  readonly name: string;
  readonly device: Device;
}

/**
 * Writes a trace as JSON lines: a header, then one event a line. README.md describes the lines.
 */
export class TraceWriter {
  readonly #file: GatheredFile;
  readonly #devices: readonly NamedDevice[];
  readonly #started = process.hrtime.bigint();

  /** @throws {HostError} IO_ERROR when the file cannot be made. */
  constructor(path: string, devices: readonly NamedDevice[], transport: string) {
    this.#file = new GatheredFile(path, 'trace');
    this.#devices = devices;
    this.#line({
      schema: jsonSchema,
      virtio: specVersion,
      started: new Date().toISOString(),
      clock: 'nanoseconds since the header',
      transport,
      devices: devices.map(describe),
    });
  }

  /** Why the trace ended early, if it did: a tracer must not throw. */
  get error(): HostError | undefined {
    return this.#file.error;
  }

  /** The tracer of one device, which is told what is in its messages. */
  tracer(name: string): Tracer {
    const messages = messagesOf(this.#devices.find((one) => one.name === name)?.device.type);
    return withMessages((event) => this.#line({ t: this.#now(), device: name, ...fields(event) }), messages);
  }

  /** Writes what is left and closes the file. */
  close(): void {
    this.#file.close();
  }

  #now(): number {
    return Number(process.hrtime.bigint() - this.#started);
  }

  #line(value: Readonly<Record<string, unknown>>): void {
    this.#file.write(`${JSON.stringify(value)}\n`);
  }
}

function describe({ name, device }: NamedDevice): Record<string, unknown> {
  const { type, behaviour } = device;
  return {
    name,
    id: type.id,
    type: type.name,
    // A device may offer by itself what every device offers.
    features: [...new Set(offeredNames(device))],
    queues: Object.keys(type.queues).filter((queue) => {
      const declaration = type.queues[queue];
      if (declaration === undefined || typeof declaration === 'number') return true;
      const { requires } = declaration;
      return requires === undefined || behaviour.offers?.includes(requires) === true;
    }),
  };
}

/** An event's own fields, flat, with names in place of bits and of error objects. */
function fields(event: TraceEvent): Record<string, unknown> {
  switch (event.kind) {
    case 'status':
      return { event: 'status', value: event.value, names: statusNames(event.value) };
    case 'violation': {
      const { code, clause, message } = event.error;
      return { event: 'violation', code, ...(clause === undefined ? {} : { clause }), message };
    }
    default: {
      const { kind, ...rest } = event;
      return { event: kind, ...rest };
    }
  }
}
