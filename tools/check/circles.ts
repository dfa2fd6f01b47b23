import type { ImportGraph } from '../source/import-graph.ts';
import type { Finding } from './finding.ts';

/** Rule 5 of the layers: no import circles, type imports included. Each circle is reported once. */
export function checkCircles(graph: ImportGraph): Finding[] {
  const findings: Finding[] = [];
  const done = new Set<string>();
  const path: string[] = [];

  const visit = (file: string): void => {
    const start = path.indexOf(file);
    if (start >= 0) {
      const circle = [...path.slice(start), file];
      findings.push({ file, message: `is in an import circle: ${circle.join(' → ')}` });
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const { to } of graph.importsOf(file)) visit(to);
    path.pop();
    done.add(file);
  };

  graph.files.forEach(visit);
  return findings;
}
