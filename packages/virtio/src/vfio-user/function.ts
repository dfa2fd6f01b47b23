import type { DeviceCore } from '../device/core.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { DeviceRing } from '../virtqueue/device-ring.ts';

/** A Base Address Register of a function. */
export interface VfioBar {
  /** 0 to 5. */
  readonly index: number;
  /** Bytes; a power of two. */
  readonly size: number;
  /** I/O ports, or memory of any kind. */
  readonly kind: string;
}

/** A write that notifies the device of available buffers, and tells it nothing else. */
export interface VfioNotification {
  readonly bar: number;
  /** Bytes from the start of the BAR. */
  readonly offset: number;
  /** Bytes. */
  readonly width: number;
  readonly value: number;
}

/** A PCI function as the server serves it: `VmmPciFunction` of `virtio/transports/pci` is one. No access throws. */
export interface VfioFunction {
  readonly bars: readonly VfioBar[];
  /** 0 for a function without INTx. */
  readonly interruptPin: number;
  readonly msixVectors: number;
  /** What an event can stand for. */
  readonly notifications: readonly VfioNotification[];
  /** The device, for queues in memory that the client does not share. Without it they cannot be served. */
  readonly core?: DeviceCore;

  /** Configuration space, 256 bytes of it; widths are 1, 2 or 4. */
  configRead(offset: number, width: number): number;
  configWrite(offset: number, width: number, value: number): void;
  /** Behind a BAR, wherever the guest has put it; widths are 1, 2 or 4. */
  regionRead(bar: number, offset: number, width: number): number;
  regionWrite(bar: number, offset: number, width: number, value: number): void;

  /** Vectors can be signalled that could not be before. */
  vectorsReady(): void;
  /** A reset of the function. */
  reset(): void;
}

/** What the server lends to the function that it serves. */
export interface VfioFunctionHost {
  /** The client's memory, as far as it shares it. */
  readonly memory: GuestMemory;
  /** Has the rings of a device reach the rest of it by messages. */
  readonly remoteRing: (ring: DeviceRing) => DeviceRing;
  /** Drives INTx. */
  setInterruptLine(level: boolean): void;
  /** Signals an MSI-X vector; false where the client does not listen to it, or has masked it. */
  signalVector(vector: number): boolean;
}
