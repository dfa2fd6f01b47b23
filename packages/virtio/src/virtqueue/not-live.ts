// Values of `turn` for a chain that the device does not have.

/** Nobody has it. */
export const FREE = 0;
/** Completed; with VIRTIO_F_IN_ORDER it waits for those that were taken before it. */
export const COMPLETED = -1;
/** It was in flight when its queue was closed. */
export const DEAD = -2;
