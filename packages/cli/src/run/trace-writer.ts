import { closeSync, openSync, writeSync } from 'node:fs';
import { type Device, offeredNames, type TraceEvent, type Tracer } from 'virtio/device';
import { HostError } from 'virtio/errors';
import { statusNames } from 'virtio/spec';
import { jsonSchema } from '../output.ts';
import { specVersion } from '../version.ts';

/** A device under the name by which the trace calls it. */
export interface NamedDevice {
  readonly name: string;
  readonly device: Device;
}

const bufferLength = 1 << 16;

/**
 * Writes a trace as JSON lines: a header, then one event a line. Lines are gathered and written in place, so the
 * machine waits for a slow disk or pipe instead of filling memory. README.md describes the lines.
 */
export class TraceWriter {
  readonly #file: number;
  readonly #path: string;
  readonly #started = process.hrtime.bigint();
  #lines: string[] = [];
  #length = 0;
  #error: HostError | undefined;

  /** @throws {HostError} IO_ERROR when the file cannot be made. */
  constructor(path: string, devices: readonly NamedDevice[], transport: string) {
    this.#path = path;
    try {
      this.#file = openSync(path, 'w');
    } catch (cause) {
      throw new HostError('IO_ERROR', `cannot write the trace ${path}`, { cause });
    }
    this.#line({
      schema: jsonSchema,
      virtio: specVersion,
      started: new Date().toISOString(),
      clock: 'nanoseconds since the header',
      transport,
      devices: devices.map(describe),
    });
    // However the process ends, what was seen until then is in the file.
    process.on('exit', this.#flush);
  }

  /** Why the trace ended early, if it did: a tracer must not throw. */
  get error(): HostError | undefined {
    return this.#error;
  }

  /** The tracer of one device. */
  tracer(name: string): Tracer {
    return (event) => this.#line({ t: this.#now(), device: name, ...fields(event) });
  }

  /** Writes what is left and closes the file. */
  close(): void {
    process.off('exit', this.#flush);
    this.#flush();
    closeSync(this.#file);
  }

  #now(): number {
    return Number(process.hrtime.bigint() - this.#started);
  }

  #line(value: Readonly<Record<string, unknown>>): void {
    if (this.#error !== undefined) return;
    const line = `${JSON.stringify(value)}\n`;
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#length >= bufferLength) this.#flush();
  }

  readonly #flush = (): void => {
    const bytes = Buffer.from(this.#lines.join(''));
    this.#lines = [];
    this.#length = 0;
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
    } catch (cause) {
      this.#error ??= new HostError('IO_ERROR', `cannot write the trace ${this.#path}`, { cause });
    }
  };
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
