export { type Attachment, attach } from './attach.ts';
export type { V86Emulator } from './emulator.ts';
export type { AttachOptions } from './host.ts';
export { reloadOnReboot } from './reload-on-reboot.ts';
