export { ConsoleDevice, type ConsoleOptions, consoleDevice } from './device.ts';
export type { ConsolePort, PortOptions } from './device-port.ts';
export { emergencyWrite, type OpenConsole, type OpenConsoleOptions, openConsole } from './driver.ts';
export type { OpenPort } from './driver-port.ts';
export { consoleMessages } from './messages.ts';
export {
  type ConsoleSize,
  consoleType,
  controlEvent,
  virtio_console_config,
  virtio_console_control,
  virtio_console_resize,
} from './spec.ts';
