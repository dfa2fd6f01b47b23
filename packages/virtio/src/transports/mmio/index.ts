export { MmioDevice } from './device.ts';
export type * from './options.ts';
export { interruptBit, type MmioRegister, magicValue, mmioRegisters, mmioVersion } from './registers.ts';
