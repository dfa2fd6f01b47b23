import type { AccessWidth } from '../../driver/config-access.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';

export type { AccessWidth } from '../../driver/config-access.ts';

/**
 * How a driver reaches one window of virtio registers: over QEMU's test protocol, in process. Offsets count from
 * the window's start; offsets and widths are bytes. Methods reject with HostError DEVICE_GONE when the device is no
 * longer there.
 */
export interface MmioAccess {
  /** Memory that both the driver and the device can reach, and the part of it that is the driver's to give. */
  readonly memory: GuestMemory;
  readonly allocator: Allocator;

  read(offset: number, width: AccessWidth): Promise<number>;
  write(offset: number, width: AccessWidth, value: number): Promise<void>;
  /** A write that nobody waits for; it stays in order with the others. */
  writeNow(offset: number, width: AccessWidth, value: number): void;

  /** Calls the handler whenever the interrupt line goes up, and at once if it is up already; `undefined` ends that. */
  listenLine(handler: (() => void) | undefined): void;
  /** Calls the handler when the device is gone for good. Absent where only a failing access tells of it. */
  listenGone?(handler: (error: Error) => void): void;
}
