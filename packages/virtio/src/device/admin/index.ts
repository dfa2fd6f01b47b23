export { type AdministerOptions, administer } from './administer.ts';
export { type Capability, capability } from './capabilities.ts';
export type { DevicePart } from './device-part.ts';
export type { DeviceGroup, GroupMember, LegacyFields, MemberLegacy } from './group.ts';
export type { PartsLimits } from './parts-object.ts';
export { AdminRefusal } from './refusal.ts';
export type { DeviceResources, ResourceObject, ResourceObjectType } from './resource-object.ts';
