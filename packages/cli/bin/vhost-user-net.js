#!/usr/bin/env node
process.argv.splice(2, 0, 'serve', 'net');
await import('./virtio.js');
