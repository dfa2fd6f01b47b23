import type { CacheRules, DataCache } from 'virtio/devices/fs';

/**
 * How much a guest may remember, by the names that virtiofsd gives it. `never`: nothing, each look goes to the host.
 * `metadata`: names and attributes for a day, no data. `auto`: both for a second, data until the next open. `always`: all of
 * it for a day, for folders that nobody else changes.
 */
export type CacheMode = (typeof cacheModes)[number];

/** All of them. */
export const cacheModes = ['never', 'metadata', 'auto', 'always'] as const;

/** Seconds. */
const day = 86_400;

const rules: Readonly<Record<CacheMode, CacheRules>> = {
  never: { entrySeconds: 0, attributeSeconds: 0, data: 'none', listAttributes: 'never' },
  metadata: { entrySeconds: day, attributeSeconds: day, data: 'none' },
  auto: { entrySeconds: 1, attributeSeconds: 1, data: 'drop' },
  always: { entrySeconds: day, absentSeconds: day, attributeSeconds: day, data: 'keep', symlinks: true },
};

/** What the device tells its guest. */
export function cacheRules(mode: CacheMode, writeback: boolean): CacheRules {
  return { ...rules[mode], writeback };
}

/** Whether a guest may keep a directory's listing. */
export function listingCache(mode: CacheMode): DataCache {
  return mode === 'metadata' || mode === 'always' ? 'keep' : 'drop';
}
