/** What a page pays for one device on the PCI transport: bundled, minified, gzipped. `npx tsx benchmarks/size/size.ts [--json]` */
import { printReport } from '../report.ts';
import { bundleSize, bundles } from './bundles.ts';

/** Bytes that `virtio` with PCI and one device may have. */
const limit = 20_000;

const rows = [];
for (const [bundle, contents] of Object.entries(bundles)) {
  rows.push({ bundle, ...(await bundleSize(contents)) });
}

printReport({
  name: 'size of a bundle, in bytes',
  rows,
  targets: rows
    .filter((row) => row.bundle.startsWith('PCI'))
    .map((row) => ({ what: row.bundle, value: row.gzipped, limit, met: row.gzipped <= limit })),
});
