export type * from './chain.ts';
export type * from './queue.ts';
