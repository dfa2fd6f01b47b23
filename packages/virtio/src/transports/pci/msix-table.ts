import type { DeviceCore } from '../../device/core.ts';
import type { BarContent } from './bar.ts';
import { msix_table_entry, msixEntryRegisters } from './pci-registers.ts';

const entrySize = msix_table_entry.size;
const { message_address, message_data, vector_control } = msix_table_entry.field;

/** A function's MSI-X vectors: table, masks and pending bits. */
export class MsixTable implements BarContent {
  /** Vectors. */
  readonly size: number;
  /** Message control: may the function send, and is all of it masked. */
  enabled = false;
  functionMask = false;
  /** A message is a write to memory, so it waits while the function may not master the bus. */
  busMaster = false;

  readonly #view: DataView;
  readonly #pending: Uint32Array;
  readonly #send: (address: number, data: number) => void;
  readonly #core: DeviceCore;
  #anyPending = false;

  constructor(size: number, core: DeviceCore, send: (address: number, data: number) => void) {
    this.size = size;
    this.#core = core;
    this.#send = send;
    this.#view = new DataView(new ArrayBuffer(size * entrySize));
    // Pending bits stand in 64-bit words.
    this.#pending = new Uint32Array(Math.ceil(size / 64) * 2);
    this.reset();
  }

  /** Bytes of the table. */
  get length(): number {
    return this.#view.byteLength;
  }

  /** As after power-up: every vector masked. */
  reset(): void {
    new Uint8Array(this.#view.buffer).fill(0);
    for (let vector = 0; vector < this.size; vector++) {
      vector_control.set(this.#view, vector * entrySize, 1);
    }
    this.clearPending();
    this.enabled = false;
    this.functionMask = false;
    this.busMaster = false;
  }

  /** The events behind the vectors are gone. */
  clearPending(): void {
    this.#pending.fill(0);
    this.#anyPending = false;
  }

  /** An event happened: its message goes out now, or when it is unmasked. */
  fire(vector: number): void {
    if (this.#mayfire(vector)) {
      this.#sendMessage(vector);
      return;
    }
    const word = vector >>> 5;
    this.#pending[word] = (this.#pending[word] ?? 0) | (1 << (vector & 31));
    this.#anyPending = true;
  }

  /** Something was unmasked: sends what waits for it. */
  deliverPending(): void {
    if (!this.#anyPending) return;
    for (let vector = 0; vector < this.size; vector++) {
      const word = this.#pending[vector >>> 5] ?? 0;
      const bit = 1 << (vector & 31);
      if ((word & bit) === 0 || !this.#mayfire(vector)) continue;
      this.#pending[vector >>> 5] = word & ~bit;
      this.#sendMessage(vector);
    }
    this.#anyPending = this.#pending.some((word) => word !== 0);
  }

  /** The table as the driver reads it. */
  read(offset: number, width: number): number {
    let value = 0;
    for (let i = 0; i < width && offset + i < this.length; i++) {
      value += this.#view.getUint8(offset + i) * 2 ** (8 * i);
    }
    if (this.#core.trace !== undefined) this.#record('read', offset, width, value);
    return value;
  }

  /** PCI lets a driver write the table in aligned words of 32 bits. */
  write(offset: number, width: number, value: number): void {
    if (this.#core.trace !== undefined) this.#record('write', offset, width, value);
    if (width !== 4 || offset % 4 !== 0) {
      this.#core.violation('REGISTER_ACCESS', `a write of ${width} bytes at ${offset} of the MSI-X table`);
      return;
    }
    const isControl = offset % entrySize === vector_control.offset;
    this.#view.setUint32(offset, isControl ? value & 1 : value, true);
    if (isControl) this.deliverPending();
  }

  /** The Pending Bit Array as the driver reads it. */
  readonly pendingBits: BarContent = {
    read: (offset, width) => {
      let value = 0;
      for (let i = offset; i < offset + width; i++) {
        value += (((this.#pending[i >>> 2] ?? 0) >>> (8 * (i & 3))) & 0xff) * 2 ** (8 * (i - offset));
      }
      this.#core.trace?.({
        kind: 'register',
        access: 'read',
        block: 'msix',
        register: 'pba',
        offset,
        width,
        value,
      });
      return value;
    },
    write: (offset, width) => {
      this.#core.violation(
        'REGISTER_ACCESS',
        `a write of ${width} bytes at ${offset} of the MSI-X pending bits`,
      );
    },
  };

  save(): { table: number[]; pending: number[] } {
    return { table: Array.from(new Uint8Array(this.#view.buffer)), pending: Array.from(this.#pending) };
  }

  restore(table: readonly number[], pending: readonly number[]): void {
    new Uint8Array(this.#view.buffer).set(table.slice(0, this.length));
    this.#pending.set(pending.slice(0, this.#pending.length));
    this.#anyPending = this.#pending.some((word) => word !== 0);
  }

  #mayfire(vector: number): boolean {
    if (!this.enabled || this.functionMask || !this.busMaster) return false;
    return (vector_control.get(this.#view, vector * entrySize) & 1) === 0;
  }

  #sendMessage(vector: number): void {
    const base = vector * entrySize + message_address.offset;
    const address = this.#view.getUint32(base, true) + this.#view.getUint32(base + 4, true) * 2 ** 32;
    this.#send(address, message_data.get(this.#view, vector * entrySize));
  }

  #record(access: 'read' | 'write', offset: number, width: number, value: number): void {
    const name = msixEntryRegisters.holding(offset % entrySize)?.name ?? '?';
    const register = `vector${Math.floor(offset / entrySize)}.${name}`;
    this.#core.trace?.({ kind: 'register', access, block: 'msix', register, offset, width, value });
  }
}
