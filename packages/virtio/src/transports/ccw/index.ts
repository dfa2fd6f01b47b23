export type * from './channel-io.ts';
