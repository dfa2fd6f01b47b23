export * from './allocator.ts';
export * from './atomics.ts';
export * from './guest-memory.ts';
export * from './read-into.ts';
export * from './region.ts';
