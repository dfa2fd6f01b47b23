/** A shared memory region (2.10), which the host has put into the guest's address space. */
export interface MmioSharedMemory {
  /** What the device type gives it. */
  readonly id: number;
  /** A guest address, and bytes. */
  readonly address: number;
  readonly length: number;
}
