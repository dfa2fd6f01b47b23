import type { Finding } from '../check/finding.ts';
import { type Source, walk } from '../source/source.ts';
import { caseOf } from './case-objects.ts';
import type { ClauseList } from './clause-list.ts';
import { citedClause, tagsOf } from './tags.ts';
import { type TestBlock, testBlocksOf } from './test-blocks.ts';

/** A test that shows that a clause holds. */
export interface Citation {
  readonly clause: string;
  readonly title: string;
  readonly file: string;
}

export interface Citations {
  readonly citations: readonly Citation[];
  readonly findings: readonly Finding[];
}

/** Reads, without running anything, which tests and conformance cases hold which clauses. */
export function collectCitations(sources: readonly Source[], clauses: ClauseList): Citations {
  const results = sources.map((source) => citationsOf(source, clauses));
  return {
    citations: results.flatMap(({ citations }) => citations),
    findings: results.flatMap(({ findings }) => findings),
  };
}

function citationsOf(source: Source, clauses: ClauseList): Citations {
  const citations: Citation[] = [];
  const findings: Finding[] = [];
  const tags = tagsOf(source).filter(({ kind }) => kind === 'holds');
  const blocks = tags.length > 0 || isCaseFile(source) ? testBlocksOf(source) : [];

  for (const tag of tags) {
    const complain = (message: string) => findings.push({ file: source.path, line: tag.line, message });
    const cited = citedClause(tag, clauses);
    const block = innermost(blocks, tag.position);
    if ('problem' in cited) complain(cited.problem);
    else if (!mayCite(source)) complain('@holds belongs in *.test.ts, *.fixture.ts or *.case.ts');
    else if (!block) complain('@holds is neither above nor within a test or a case');
    else if (block.skipped) complain(`@holds on a test that never runs: ${block.title}`);
    else citations.push({ clause: cited.id, title: block.title, file: source.path });
  }

  for (const { clause, statement } of isCaseFile(source) ? casesOf(source) : []) {
    if (clauses.has(clause)) citations.push({ clause, title: statement, file: source.path });
    else
      findings.push({
        file: source.path,
        message: `the case "${statement}" cites no clause of v1.4: "${clause}"`,
      });
  }
  return { citations: unique(citations), findings };
}

const mayCite = ({ path }: Source): boolean => /\.(test|fixture|case)\.ts$/.test(path);

const isCaseFile = ({ path }: Source): boolean => path.endsWith('.case.ts');

/** The smallest block around a position; a block begins with the comments above it. */
function innermost(blocks: readonly TestBlock[], position: number): TestBlock | undefined {
  return blocks
    .filter(({ start, end }) => start <= position && position < end)
    .reduce<TestBlock | undefined>((a, b) => (a && a.end - a.start <= b.end - b.start ? a : b), undefined);
}

/** The objects of a case file that are conformance cases. */
function casesOf(source: Source): { readonly clause: string; readonly statement: string }[] {
  const cases: { readonly clause: string; readonly statement: string }[] = [];
  walk(source, (node) => {
    const found = caseOf(node);
    if (found) cases.push(found);
  });
  return cases;
}

function unique(citations: readonly Citation[]): Citation[] {
  const byText = new Map(citations.map((citation) => [`${citation.clause}\n${citation.title}`, citation]));
  return [...byText.values()];
}
