#!/usr/bin/env node
import { existsSync } from 'node:fs';

if (existsSync(new URL('../dist/main.js', import.meta.url))) {
  // First of all: what loads next is what the heap would grow by.
  if (process.argv[2] === 'serve') (await import('../dist/serve/small-heap.js')).keepHeapSmall();
  await import('../dist/main.js');
} else {
  console.error('virtio: the command is not built yet; run `npm run build` first');
  process.exitCode = 3;
}
