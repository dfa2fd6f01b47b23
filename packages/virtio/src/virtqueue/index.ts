export type { AreaShape, RingAreas } from './area.ts';
export * from './chain.ts';
export * from './chain-elements.ts';
export * from './create.ts';
export type { DriverRingOptions } from './driver-options.ts';
export * from './legacy.ts';
export * from './packed/layout.ts';
export type * from './queue.ts';
export * from './split/layout.ts';
