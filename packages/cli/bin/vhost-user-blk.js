#!/usr/bin/env node
process.argv.splice(2, 0, 'serve', 'blk');
await import('./virtio.js');
