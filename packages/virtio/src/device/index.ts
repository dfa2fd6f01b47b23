export { ActiveQueue } from './active-queue.ts';
export * from './admin/index.ts';
export { ConfigSpace, type ConfigState } from './config-space.ts';
export { DeviceCore, type DeviceHost, type DeviceState } from './core.ts';
export * from './device.ts';
export type { QueueSetup } from './queue-setup.ts';
export { RegisterBank, type RegisterTarget } from './register-bank.ts';
export type { TraceEvent, Tracer } from './trace.ts';
