// Bits of the status register.

export const INTERRUPT = 0x08;
export const CAPABILITIES = 0x10;
