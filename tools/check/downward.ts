import type { ImportGraph } from '../source/import-graph.ts';
import type { Finding } from './finding.ts';
import { inVirtio, type Part, partOf } from './layers.ts';

/** Rule 1 of the layers: within `virtio`, imports point downward, and parts of one layer never meet. */
export function checkDownward(graph: ImportGraph): Finding[] {
  const findings: Finding[] = graph.files
    .filter((file) => inVirtio(file) && !partOf(file))
    .map((file) => ({ file, message: 'is in no layer: add its folder to tools/check/layers.ts' }));
  for (const { from, to, line } of graph.edges) {
    const upper = inVirtio(from) ? partOf(from) : undefined;
    const lower = inVirtio(to) ? partOf(to) : undefined;
    if (upper && lower && !mayImport(upper, lower)) {
      const message = `${describe(upper)} imports ${describe(lower)}: imports point downward only`;
      findings.push({ file: from, line, message });
    }
  }
  return findings;
}

function mayImport(upper: Part, lower: Part): boolean {
  // Layer 0 is one vocabulary (errors cite clauses, structures throw errors), so its parts may meet.
  return upper.name === lower.name || lower.layer < upper.layer || (upper.layer === 0 && lower.layer === 0);
}

const describe = ({ name, layer }: Part): string => `${name} (L${layer})`;
