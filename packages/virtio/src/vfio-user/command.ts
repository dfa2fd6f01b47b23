import type { Descriptor } from '../channel/descriptors.ts';
import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import { type CommandName, type ErrnoName, headerFlag, vfio_user_header } from './messages.ts';

/** A command of the other side while it is served, in whole and with as many bytes as it must have. */
export class Command {
  readonly name: CommandName;
  /** The header and what stands behind it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What stands behind the header. */
  readonly view: DataView;
  readonly #descriptors: (Descriptor | undefined)[];

  constructor(name: CommandName, bytes: Uint8Array<ArrayBuffer>, descriptors: readonly Descriptor[]) {
    this.name = name;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset + vfio_user_header.size);
    this.#descriptors = [...descriptors];
  }

  /** Bytes behind the header. */
  get length(): number {
    return this.view.byteLength;
  }

  /** How many descriptors came with it. */
  get descriptors(): number {
    return this.#descriptors.length;
  }

  get wantsReply(): boolean {
    const flags = vfio_user_header.field.flags.get(new DataView(this.bytes.buffer, this.bytes.byteOffset));
    return (flags & headerFlag.NO_REPLY) === 0;
  }

  /** What the structure behind the header says; its size is among those that were checked. */
  read<F extends Fields>(structure: Struct<F>): StructValue<F> {
    return structure.read(this.view);
  }

  /** The bytes from an offset behind the header on. */
  data(offset: number): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(vfio_user_header.size + offset);
  }

  /** A descriptor, which is the caller's to close from here on. */
  take(index: number): Descriptor | undefined {
    const descriptor = this.#descriptors[index];
    this.#descriptors[index] = undefined;
    return descriptor;
  }

  /** Closes what nobody took. */
  release(): void {
    for (const descriptor of this.#descriptors) descriptor?.close();
    this.#descriptors.fill(undefined);
  }
}

/** What answers a command: the bytes behind the reply's header, and descriptors, which stay the answerer's. */
export interface Answer {
  readonly payload?: readonly Uint8Array[];
  readonly descriptors?: readonly Descriptor[];
}

/** @internal Thrown where a command is served: it fails with this errno, and the connection goes on. */
export class Refusal extends Error {
  readonly errno: ErrnoName;

  constructor(errno: ErrnoName, why: string) {
    super(why);
    this.errno = errno;
  }
}

/** @internal */
export function refuse(errno: ErrnoName, why: string): never {
  throw new Refusal(errno, why);
}

/** @internal A number of 64 bits, where one that a number of the language does not hold is of no use either. */
export function number64(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) refuse('EINVAL', `${what} is 0x${value.toString(16)}`);
  return number;
}
