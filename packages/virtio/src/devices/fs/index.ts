export type { Eventually } from '../../device/eventually.ts';
export * from './file-tree.ts';
export * from './spec-errno.ts';
export * from './spec-names.ts';
