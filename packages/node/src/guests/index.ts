export { type AcpiTable, withAcpiTables } from './acpi-tables.ts';
export { cacheFolder } from './cache.ts';
export { guestCommandLine, mmioGuest, serialControl } from './command-line.ts';
export {
  type ConsoleEvent,
  consoleEvent,
  controlPort,
  type GuestMessage,
  GuestMessages,
  type Instruction,
  instructionLines,
  stderrPort,
  stdinPort,
} from './control.ts';
export { type CpioEntry, writeCpio } from './cpio.ts';
export {
  type GuestArchitecture,
  type GuestFileName,
  type GuestFiles,
  type GuestOptions,
  guestFiles,
} from './guest-files.ts';
export type { Progress, ProgressEvent } from './progress.ts';
export { ensureTool, type Tool, type ToolName, type ToolOptions } from './tools.ts';
