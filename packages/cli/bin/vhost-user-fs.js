#!/usr/bin/env node
process.argv.splice(2, 0, 'serve', 'fs');
await import('./virtio.js');
