export * from './ccw.ts';
export type * from './channel-io.ts';
export {
  type CcwDeviceOptions,
  type CcwDeviceState,
  ChannelSubsystem,
  type ChannelSubsystemOptions,
  type InstructionEnd,
  type IoInterruption,
  programInterruption,
} from './channel-subsystem.ts';
export * from './commands.ts';
export { type ConnectCcwOptions, type ConnectedCcw, channelSubsystemIo, connectCcw } from './connect.ts';
export { ControlUnit, type ControlUnitOptions, type ControlUnitState } from './control-unit.ts';
export { CcwTransport, type CcwTransportOptions } from './driver.ts';
export { type FoundCcwDevice, findCcwDevices } from './find.ts';
export { type CcwLegacyDevice, type CcwLegacyDriver, legacyCcwDevice, legacyCcwDriver } from './legacy.ts';
export * from './legacy-structures.ts';
export * from './schib.ts';
export * from './status.ts';
export * from './structures.ts';
