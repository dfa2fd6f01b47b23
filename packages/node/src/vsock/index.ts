export { join } from './join.ts';
export { openUnixPorts, type UnixPorts, type UnixPortsOptions } from './unix-ports.ts';
