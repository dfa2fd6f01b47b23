// Bits of the command register.

export const IO_SPACE = 1;
export const MEMORY_SPACE = 2;
export const BUS_MASTER = 4;
export const PARITY_ERROR = 0x40;
export const SERR = 0x100;
export const INTERRUPT_DISABLE = 0x400;
