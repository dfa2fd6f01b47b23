import { bundleSize, bundles } from '../../benchmarks/size/bundles.ts';
import type { Finding } from './finding.ts';

/** Bytes, gzipped, that PCI and the smallest device have: what is added to the core for one device type alone must not weigh on all. */
const limit = 20_500;

/** A page's bundle does not grow unseen. */
export async function checkBundleSize(most = limit): Promise<Finding[]> {
  const { gzipped } = await bundleSize(bundles['PCI + entropy device']);
  if (gzipped <= most) return [];
  const message = `PCI and entropy are ${gzipped} bytes gzipped, over ${most}: lend what not every device needs`;
  return [{ file: 'benchmarks/size/bundles.ts', message }];
}
