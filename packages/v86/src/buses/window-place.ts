/** A virtio-mmio window: where its registers are, and the interrupt that it has. A table tells the guest. */
export interface MmioWindowPlace {
  /** Guest address and bytes. */
  readonly address: number;
  readonly size: number;
  /** The level-triggered, active-high interrupt (GSI), which windows may share. */
  readonly irq: number;
}

/** v86 gives memory out in blocks of this size. */
export const windowSize = 0x2_0000;
export const windowCount = 32;

/** Below v86's own video memory, and above any memory that it can have. */
const firstWindow = 0xd000_0000;

/** Of the interrupts of a PC, those that v86 has nothing on. */
const freeInterrupts = [5, 7] as const;

/** Where the window of this number is, from 0 to 31. */
export function mmioWindow(slot: number): MmioWindowPlace {
  return {
    address: firstWindow + slot * windowSize,
    size: windowSize,
    irq: freeInterrupts[slot % freeInterrupts.length]!,
  };
}
