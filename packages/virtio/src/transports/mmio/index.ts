export type * from './access.ts';
export { type ConnectedMmio, type ConnectMmioOptions, connectMmio } from './connect.ts';
export { MmioDevice } from './device.ts';
export { MmioTransport } from './driver.ts';
export type { MmioDriverOptions } from './driver-base.ts';
export { identifyMmio, type MmioIdentity } from './identify.ts';
export type * from './options.ts';
export { interruptBit, type MmioRegister, magicValue, mmioRegisters, mmioVersion } from './registers.ts';
export type * from './shared-memory.ts';
