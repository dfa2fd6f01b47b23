import type { AccessWidth } from '../../driver/config-access.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { BarKind } from './pci-registers.ts';

export type { AccessWidth } from '../../driver/config-access.ts';

/** A message that a function may send: what goes into an MSI-X table entry. */
export interface PciMessage {
  /** A bus address, and the 32 bits that are written there. */
  readonly address: number;
  readonly data: number;
  /** The message is not needed any more. */
  free(): void;
}

/** Where a BAR was put. */
export interface AssignedBar {
  readonly index: number;
  readonly kind: BarKind;
  readonly size: number;
  readonly address: number;
}

/**
 * How a driver reaches one PCI function: over QEMU's test protocol, over vfio-user, in process. Offsets and
 * widths are bytes; offsets into a BAR count from its start. Methods reject with HostError DEVICE_GONE when
 * the function is no longer there.
 */
export interface PciAccess {
  /** Memory that both the driver and the function can reach, and the part of it that is the driver's to give. */
  readonly memory: GuestMemory;
  readonly allocator: Allocator;

  configRead(offset: number, width: AccessWidth): Promise<number>;
  configWrite(offset: number, width: AccessWidth, value: number): Promise<void>;
  barRead(bar: number, offset: number, width: AccessWidth): Promise<number>;
  barWrite(bar: number, offset: number, width: AccessWidth, value: number): Promise<void>;
  /** A write that nobody waits for; it stays in order with the others. */
  barWriteNow(bar: number, offset: number, width: AccessWidth, value: number): void;

  /** The driver has put a BAR somewhere. */
  barAssigned?(bar: AssignedBar): Promise<void>;
  /** Calls the handler when the function is gone for good. Absent where only a failing access tells of it. */
  listenGone?(handler: (error: Error) => void): void;
  /** Calls the handler whenever the interrupt line is raised. Absent where there is no INTx. */
  listenLine?(handler: (() => void) | undefined): void;
  /**
   * Gives a message that calls the handler, or `undefined` when none is left. It is for the vector of that number and no
   * other: some hosts are told of vectors, and not of messages. Absent where there is no MSI-X.
   */
  allocateMessage?(handler: () => void, vector: number): Promise<PciMessage | undefined>;
}
