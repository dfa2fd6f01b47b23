export * from './device-type.ts';
export * from './features.ts';
export * from './ids.ts';
export * from './layout.ts';
export * from './registers.ts';
export * from './status.ts';
