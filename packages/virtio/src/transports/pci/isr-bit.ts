// Bits of the ISR status (4.1.4.5).

export const QUEUE = 1;
export const CONFIG = 2;
