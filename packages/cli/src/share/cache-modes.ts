import type { CacheMode } from 'virtio-node/files';

const modes: Readonly<Record<CacheMode, true>> = { never: true, metadata: true, auto: true, always: true };

/** Those of `virtio-node/files`, which only a command that shares a folder loads. */
export const cacheModes = Object.keys(modes) as readonly CacheMode[]; // they are the keys of that record
