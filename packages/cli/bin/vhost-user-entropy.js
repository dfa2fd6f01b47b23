#!/usr/bin/env node
process.argv.splice(2, 0, 'serve', 'entropy');
await import('./virtio.js');
