import type { DeviceCore } from '../../device/core.ts';
import { readLittle } from '../../device/little-endian.ts';
import type { TracedBlock } from '../../device/tracing.ts';
import type { BarContent } from './bar.ts';
import type { BarChoice, CapabilityRoom } from './capability-room.ts';
import type { ConfigSpace } from './config-space.ts';
import {
  capabilityId,
  maxMsixVectors,
  msix_cap,
  msix_table_entry,
  msixControl,
  msixEntryRegisters,
} from './pci-registers.ts';
import { refuse, within } from './refuse.ts';

const defaultBar: BarChoice = { bar: 2, kind: 'memory64' };

const entrySize = msix_table_entry.size;
const { message_address, message_data, vector_control } = msix_table_entry.field;

/** MSI-X, for a host that can send messages; `msix` makes one. */
export interface MsixSupport {
  /** @internal */
  makeTable(vectors: number | undefined, core: DeviceCore): MsixTable;
}

/**
 * MSI-X for a function, whose host calls `send` to write 32 bits of `data` to a guest-physical address.
 *
 * @example
 * new PciFunction(device, { memory, msix: msix((address, data) => machine.msi(address, data)) });
 */
export function msix(send: (address: number, data: number) => void): MsixSupport {
  const outlet: MessageOutlet = {
    masked: (control) => (control & 1) !== 0,
    send: (_, address, data) => {
      send(address, data);
      return true;
    },
  };
  return { makeTable: (vectors, core) => new MsixTable(vectors, core, outlet) };
}

/**
 * MSI-X for a function whose host keeps the table itself, messages and masks, as a virtual machine monitor does behind
 * vfio-user: it is asked to signal a vector by its number. `signal` gives false where the host cannot now; the event
 * stays pending until `VmmPciFunction.vectorsReady`.
 */
export function msixSignals(signal: (vector: number) => boolean): MsixSupport {
  const outlet: MessageOutlet = { masked: () => false, send: signal };
  return { makeTable: (vectors, core) => new MsixTable(vectors, core, outlet) };
}

/** How events leave the function. */
interface MessageOutlet {
  /** True when a Vector Control with this value holds events back. */
  masked(control: number): boolean;
  /** False when the event could not leave. */
  send(vector: number, address: number, data: number): boolean;
}

/** A function's MSI-X vectors: table, masks and pending bits. */
export class MsixTable implements BarContent {
  /** Vectors. */
  readonly size: number;
  /** A message is a write to memory, so it waits while the function may not master the bus. */
  busMaster = false;

  readonly #table: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #pending: Uint8Array;
  readonly #outlet: MessageOutlet;
  readonly #core: DeviceCore;
  #anyPending = false;
  /** Message control: may the function send, and is all of it masked. */
  #enabled = false;
  #functionMask = false;
  /** Where the capability stands in configuration space. */
  #capability = 0;

  /** A vector for each queue and one more, unless told. */
  constructor(vectors: number | undefined, core: DeviceCore, outlet: MessageOutlet) {
    const size = vectors ?? Math.min(maxMsixVectors, core.queues.length + 1);
    within('msixVectors', size, 0, maxMsixVectors);
    this.size = size;
    this.#core = core;
    this.#outlet = outlet;
    this.#table = new Uint8Array(size * entrySize);
    this.#view = new DataView(this.#table.buffer);
    // Pending bits stand in 64-bit words.
    this.#pending = new Uint8Array(Math.ceil(size / 64) * 8);
    this.reset();
  }

  /** True while events go out as messages. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** Table and pending bits find room behind a BAR, and a capability tells where. */
  add(layout: CapabilityRoom): void {
    const choice = layout.choices.msix ?? defaultBar;
    if (choice.kind === 'io') refuse('MSI-X needs a memory BAR');
    const { bar, offset: table } = layout.place(choice, this.#table.length, 8, this);
    const { offset: pending } = layout.place(choice, this.#pending.length, 8, this.#pendingBits);
    const body = msix_cap.encode({
      cap_id: capabilityId.MSIX,
      message_control: this.size - 1,
      table: table + bar,
      pba: pending + bar,
    });
    const writable = msix_cap.encode({ message_control: msixControl.ENABLE | msixControl.FUNCTION_MASK });
    this.#capability = layout.config.addCapability(msix_cap, body, writable);
  }

  /** True for an access to configuration space that reaches the capability. */
  reachedBy(offset: number, width: number): boolean {
    return offset < this.#capability + msix_cap.size && offset + width > this.#capability;
  }

  /** Message control may have changed. */
  readControl(config: ConfigSpace): void {
    const control = config.read(this.#capability + msix_cap.field.message_control.offset, 2);
    this.#enabled = (control & msixControl.ENABLE) !== 0;
    this.#functionMask = (control & msixControl.FUNCTION_MASK) !== 0;
  }

  /** As after power-up: every vector masked. */
  reset(): void {
    this.#table.fill(0);
    for (let vector = 0; vector < this.size; vector++) {
      vector_control.set(this.#view, vector * entrySize, 1);
    }
    this.clearPending();
    this.#enabled = false;
    this.#functionMask = false;
    this.busMaster = false;
  }

  /** The events behind the vectors are gone. */
  clearPending(): void {
    this.#pending.fill(0);
    this.#anyPending = false;
  }

  /** An event happened: its message goes out now, or when it is unmasked. */
  fire(vector: number): void {
    if (this.#mayfire(vector) && this.#sendMessage(vector)) return;
    const byte = vector >>> 3;
    this.#pending[byte] = (this.#pending[byte] ?? 0) | (1 << (vector & 7));
    this.#anyPending = true;
  }

  /** Something was unmasked: sends what waits for it. */
  deliverPending(): void {
    if (!this.#anyPending) return;
    for (let vector = 0; vector < this.size; vector++) {
      const byte = this.#pending[vector >>> 3] ?? 0;
      const bit = 1 << (vector & 7);
      if ((byte & bit) === 0 || !this.#mayfire(vector)) continue;
      this.#pending[vector >>> 3] = byte & ~bit;
      if (!this.#sendMessage(vector)) this.#pending[vector >>> 3] = byte;
    }
    this.#anyPending = this.#pending.some((byte) => byte !== 0);
  }

  /** The table as the driver reads it. */
  read(offset: number, width: number): number {
    const value = readLittle(this.#table, offset, width);
    this.#core.trace?.register('read', tableBlock, offset, width, value);
    return value;
  }

  /** PCI lets a driver write the table in aligned words of 32 bits. */
  write(offset: number, width: number, value: number): void {
    this.#core.trace?.register('write', tableBlock, offset, width, value);
    if (width !== 4 || offset % 4 !== 0) {
      this.#core.violation('REGISTER_ACCESS', `a write of ${width} bytes at ${offset} of the MSI-X table`);
      return;
    }
    const isControl = offset % entrySize === vector_control.offset;
    this.#view.setUint32(offset, isControl ? value & 1 : value, true);
    if (isControl) this.deliverPending();
  }

  /** The Pending Bit Array as the driver reads it. */
  readonly #pendingBits: BarContent = {
    read: (offset, width) => {
      const value = readLittle(this.#pending, offset, width);
      this.#core.trace?.register('read', pendingBlock, offset, width, value);
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
    return { table: Array.from(this.#table), pending: Array.from(this.#pending) };
  }

  restore(table: readonly number[], pending: readonly number[]): void {
    this.#table.set(table.slice(0, this.#table.length));
    this.#pending.set(pending.slice(0, this.#pending.length));
    this.#anyPending = this.#pending.some((byte) => byte !== 0);
  }

  #mayfire(vector: number): boolean {
    if (!this.#enabled || this.#functionMask || !this.busMaster) return false;
    return !this.#outlet.masked(vector_control.get(this.#view, vector * entrySize));
  }

  #sendMessage(vector: number): boolean {
    const base = vector * entrySize + message_address.offset;
    const address = this.#view.getUint32(base, true) + this.#view.getUint32(base + 4, true) * 2 ** 32;
    return this.#outlet.send(vector, address, message_data.get(this.#view, vector * entrySize));
  }
}

const tableBlock: TracedBlock = {
  name: 'msix',
  holding: (offset) => {
    const name = msixEntryRegisters.holding(offset % entrySize)?.name;
    return { name: `vector${Math.floor(offset / entrySize)}.${name}` };
  },
};
const pendingBlock: TracedBlock = { name: 'msix', holding: () => ({ name: 'pba' }) };
