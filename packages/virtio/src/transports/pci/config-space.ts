import { readLittle, writeLittle } from '../../device/little-endian.ts';
import { UsageError } from '../../errors.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import * as commandBit from './command-bit.ts';
import { configSpaceSize, firstCapabilityOffset, pci_header } from './pci-registers.ts';
import * as statusBit from './status-bit.ts';

/** What a guest may write of the header whatever the function is; BARs come with the BARs. */
const headerWritable = {
  command: commandBit.BUS_MASTER | commandBit.PARITY_ERROR | commandBit.SERR | commandBit.INTERRUPT_DISABLE,
  cache_line_size: 0xff,
  interrupt_line: 0xff,
} as const;

/** The bytes of a function's configuration space, and which of their bits a guest may write. */
export class ConfigSpace {
  /** @internal */
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(configSpaceSize);
  /** @internal Which bits a guest may write. */
  readonly writable: Uint8Array<ArrayBuffer> = new Uint8Array(configSpaceSize);
  readonly #view = new DataView(this.bytes.buffer);
  readonly #writableView = new DataView(this.writable.buffer);
  /** @internal As after power-up; set when the function is complete. */
  initial: Uint8Array = new Uint8Array(configSpaceSize);
  /** As the trace calls it. */
  readonly name = 'pci';
  /** @internal What stands where, for the trace. */
  readonly capabilities: {
    readonly offset: number;
    readonly size: number;
    readonly structure: Struct<Fields>;
  }[] = [];
  #end = firstCapabilityOffset;
  /** Where the pointer to the next capability goes. */
  #link: number = pci_header.field.capabilities_pointer.offset;

  constructor(header: Partial<StructValue<(typeof pci_header)['codecs']>>) {
    pci_header.write(this.#view, 0, header);
    pci_header.write(this.#writableView, 0, headerWritable);
  }

  /** True when every byte of the access lies in the space. */
  static holds(offset: number, width: number): boolean {
    return offset >= 0 && offset + width <= configSpaceSize;
  }

  read(offset: number, width: number): number {
    return readLittle(this.bytes, offset, width);
  }

  /** Takes the bits that a guest may write. */
  write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = offset + i;
      const mask = this.writable[at] ?? 0;
      this.bytes[at] = ((this.bytes[at] ?? 0) & ~mask) | ((value >>> (8 * i)) & mask);
    }
  }

  /** Sets bits that are the function's own; with `writable` also which of them a guest may write. */
  set(offset: number, width: 1 | 2 | 4, value: number, writable?: number): void {
    writeLittle(this.bytes, offset, width, value);
    if (writable !== undefined) writeLittle(this.writable, offset, width, writable);
  }

  /** Lets a guest write more bits of a byte. */
  allow(offset: number, bits: number): void {
    this.writable[offset] = (this.writable[offset] ?? 0) | bits;
  }

  /**
   * Adds a capability behind the others; returns its offset. `body` begins with the capability id; the next
   * pointer in it is filled in.
   *
   * @throws {UsageError} BAD_ARGUMENT when the 256 bytes are full.
   */
  addCapability(
    structure: Struct<Fields>,
    body: Uint8Array,
    writable: Uint8Array = new Uint8Array(),
  ): number {
    const offset = this.#end;
    if (offset + body.length > configSpaceSize || body.length < 2) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${structure.name} does not fit behind ${offset} bytes of configuration`,
      );
    }
    this.bytes.set(body, offset);
    this.writable.set(writable.subarray(0, body.length), offset);
    // The id and the next pointer are never the guest's.
    this.writable.fill(0, offset, offset + 2);
    this.bytes[offset + 1] = 0;
    this.bytes[this.#link] = offset;
    this.#link = offset + 1;
    this.#end = Math.ceil((offset + body.length) / 4) * 4;
    pci_header.write(this.#view, 0, {
      status: pci_header.field.status.get(this.#view) | statusBit.CAPABILITIES,
    });
    this.capabilities.push({ offset, size: body.length, structure });
    return offset;
  }

  /** The function is complete: this is what a reset returns to. */
  seal(): void {
    this.initial = this.bytes.slice();
  }

  reset(): void {
    this.bytes.set(this.initial);
  }
}
