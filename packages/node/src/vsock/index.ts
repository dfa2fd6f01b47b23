export { join } from './join.ts';
export { openUnixPorts, type UnixPorts } from './unix-ports.ts';
