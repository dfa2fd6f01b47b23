import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** What a page may import for one device. */
export const bundles = {
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
} as const;

/** Bytes of a bundle, as a page would load it. */
export async function bundleSize(contents: string): Promise<{ minified: number; gzipped: number }> {
  const result = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('../..', import.meta.url)) },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    conditions: ['source'],
  });
  const code = result.outputFiles[0]?.contents ?? new Uint8Array();
  return { minified: code.length, gzipped: gzipSync(code, { level: 9 }).length };
}
