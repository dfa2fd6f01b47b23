import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import type { BarContent } from './bar.ts';
import type { ConfigSpace } from './config-space.ts';
import type { BarKind } from './pci-registers.ts';

/** The BAR that a structure lives in. Structures that name the same BAR share it; its kind must agree. */
export interface BarChoice {
  readonly bar: number;
  readonly kind: BarKind;
}

/**
 * Where the structures live. Several places make several capabilities, the preferred one first. Unless told,
 * all of them are in BAR 0 (`memory64`), or in BAR 1 (`memory32`) of a transitional device, the MSI-X tables in BAR 2 and shared memory in BAR 4 (both `memory64`).
 */
export interface PciLayout {
  readonly common?: readonly BarChoice[];
  readonly notify?: readonly BarChoice[];
  readonly isr?: readonly BarChoice[];
  readonly device?: readonly BarChoice[];
  readonly msix?: BarChoice;
  readonly sharedMemory?: BarChoice;
  /** No memory BAR is smaller than this, in bytes; 4096 unless told. For hosts that map in larger units. */
  readonly minimumMemoryBar?: number;
}

/** What a function has beside the structures of every function: `sharedMemory`, `vendorData`, `pciCapability`. */
export interface AddedCapability {
  /** @internal `all` that the function is given, this one among them. */
  add(layout: CapabilityRoom, all: readonly AddedCapability[]): void;
}

/** @internal Where a capability, and what it points at, finds room in a function. */
export interface CapabilityRoom {
  readonly config: ConfigSpace;
  /** Where the structures are to be. */
  readonly choices: PciLayout;
  /** Adds a virtio structure capability; returns its offset in configuration space. */
  addVirtio<F extends Fields>(
    structure: Struct<F>,
    fields: Partial<StructValue<F>>,
    writable?: Uint8Array,
  ): number;
  /** Finds room behind a BAR, `length` bytes of it; `bytes` are what a host may map, if a new BAR is made. */
  place(
    choice: BarChoice,
    length: number,
    alignment: number,
    content: BarContent,
    bytes?: Uint8Array,
  ): { readonly bar: number; readonly offset: number };
}
