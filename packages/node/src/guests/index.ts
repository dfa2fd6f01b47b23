export { type AcpiTable, withAcpiTables } from './acpi-tables.ts';
export { cacheFolder } from './cache.ts';
export { guestCommandLine, mmioGuest, serialControl, serialPorts } from './command-line.ts';
export {
  type ConsoleEvent,
  consoleEvent,
  controlPort,
  type GuestMessage,
  GuestMessages,
  type GuestMount,
  type Instruction,
  instructionLines,
  stderrPort,
  stdinPort,
} from './control.ts';
export { type CpioEntry, writeCpio } from './cpio.ts';
export { type ChildOptions, GuardedChild } from './guarded-child.ts';
export {
  type GuestFileName,
  type GuestFiles,
  type GuestOptions,
  guestFiles,
} from './guest-files.ts';
export type { GuestMachine } from './guest-recipes.ts';
export { type Executed, GuestSession } from './guest-session.ts';
export { awaitsConsole } from './init-scripts.ts';
export { KernelLines } from './kernel-lines.ts';
export { type NativeGuest, type NativeGuestOptions, servedAt, type VhostUserDevice } from './native-guest.ts';
export type { Progress, ProgressEvent } from './progress.ts';
export { ensureTool, type Tool, type ToolName, type ToolOptions } from './tools.ts';
export { builtUmlKernel, type UmlKernelOptions } from './uml-kernel.ts';
