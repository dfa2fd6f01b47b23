export * from './device.ts';
export * from './driver.ts';
export { blkMessages } from './messages.ts';
export * from './spec.ts';
export * from './spec-requests.ts';
export * from './spec-zones.ts';
