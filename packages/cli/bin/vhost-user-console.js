#!/usr/bin/env node
process.argv.splice(2, 0, 'serve', 'console');
await import('./virtio.js');
