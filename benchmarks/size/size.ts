/** What a page pays for one device on the PCI transport: bundled, minified, gzipped. `npx tsx benchmarks/size/size.ts [--json]` */
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { printReport } from '../report.ts';

/** Bytes that `virtio` with PCI and one device may have. */
const limit = 20_000;

const bundles: Readonly<Record<string, string>> = {
  'PCI + entropy device': `
    export { PciFunction } from 'virtio/transports/pci';
    export { entropyDevice } from 'virtio/devices/entropy';
    export { GuestMemory } from 'virtio/memory';`,
  'PCI + console device': `
    export { PciFunction } from 'virtio/transports/pci';
    export { consoleDevice } from 'virtio/devices/console';
    export { GuestMemory } from 'virtio/memory';`,
  'PCI + block device': `
    export { PciFunction } from 'virtio/transports/pci';
    export { blkDevice } from 'virtio/devices/blk';
    export { GuestMemory } from 'virtio/memory';`,
  'loopback, both sides of entropy': `
    export { Loopback } from 'virtio/transports/loopback';
    export { entropyDevice, openEntropy } from 'virtio/devices/entropy';`,
};

const rows = [];
for (const [bundle, contents] of Object.entries(bundles)) {
  const result = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('../..', import.meta.url)) },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
  });
  const code = result.outputFiles[0]?.contents ?? new Uint8Array();
  rows.push({ bundle, minified: code.length, gzipped: gzipSync(code, { level: 9 }).length });
}

printReport({
  name: 'size of a bundle, in bytes',
  rows,
  targets: rows
    .filter((row) => row.bundle.startsWith('PCI'))
    .map((row) => ({ what: row.bundle, value: row.gzipped, limit, met: row.gzipped <= limit })),
});
