export type { Capabilities } from './capabilities.ts';
export {
  type DmaMapping,
  type VfioDeviceInfo,
  type VfioIrqInfo,
  type VfioRegionEvent,
  type VfioRegionInfo,
  VfioUserClient,
  type VfioUserClientOptions,
  type VfioWrite,
} from './client.ts';
export { VfioPciFunction, type VfioPciOptions } from './client-function.ts';
export type * from './function.ts';
export * from './messages.ts';
export type { VfioMigration } from './migration.ts';
export type { SharedBar } from './regions.ts';
export { VfioUserServer, type VfioUserServerOptions } from './server.ts';
