export type { DeviceCapabilities } from './capabilities.ts';
export { AdminError } from './error.ts';
export type { AdminGroup } from './group.ts';
export type { AdminMember } from './member.ts';
export { type OpenAdmin, openAdmin } from './open-admin.ts';
export type { PartCopy, PartName } from './parts.ts';
export type { ObjectContent, ResourceHandle } from './resource-objects.ts';
