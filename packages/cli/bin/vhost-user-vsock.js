#!/usr/bin/env node
process.argv.splice(2, 0, 'serve', 'vsock');
await import('./virtio.js');
