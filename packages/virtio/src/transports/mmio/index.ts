export type * from './access.ts';
export { type ConnectedMmio, type ConnectMmioOptions, connectMmio } from './connect.ts';
export { MmioDevice } from './device.ts';
export { MmioTransport } from './driver.ts';
export type { MmioDriverOptions } from './driver-base.ts';
export { emptyMmio } from './empty.ts';
export { identifyMmio, type MmioIdentity } from './identify.ts';
export {
  type ConnectedLegacyMmio,
  type ConnectLegacyMmioOptions,
  connectLegacyMmio,
} from './legacy-connect.ts';
export {
  LegacyMmioDevice,
  type LegacyMmioDeviceOptions,
  type LegacyMmioDeviceState,
} from './legacy-device.ts';
export { type LegacyMmioDriverOptions, LegacyMmioTransport } from './legacy-driver.ts';
export { type LegacyMmioRegister, legacyMmioRegisters } from './legacy-registers.ts';
export { openMmio } from './open.ts';
export type * from './options.ts';
export { interruptBit, type MmioRegister, magicValue, mmioRegisters, mmioVersion } from './registers.ts';
export type * from './shared-memory.ts';
