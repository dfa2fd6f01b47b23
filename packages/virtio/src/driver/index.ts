export * from './admin/index.ts';
export * from './open.ts';
export { OpenDevice } from './open-device.ts';
export * from './options.ts';
export { type Completion, OpenQueue } from './queue.ts';
export type * from './transport.ts';
