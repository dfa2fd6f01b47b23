import ts from 'typescript';
import { commentsOf } from '../source/comments.ts';
import { lineAt, type Source, walk } from '../source/source.ts';
import type { Finding } from './finding.ts';

/** A cast gives its reason in a comment on its line or the line above; `any` has none that would do. */
export function checkCasts(sources: readonly Source[]): Finding[] {
  return sources.flatMap(checkSource);
}

function checkSource(source: Source): Finding[] {
  const findings: Finding[] = [];
  let reasons: Set<number> | undefined;
  walk(source, (node) => {
    if (node.kind === ts.SyntaxKind.AnyKeyword) {
      const line = lineAt(source, node.getStart(source.tree));
      findings.push({ file: source.path, line, message: '`any` is never used: `unknown`, or the type' });
    }
    if (!isCast(node)) return;
    reasons ??= linesWithReasons(source);
    const line = lineAt(source, node.type.getStart(source.tree));
    const firstLine = lineAt(source, node.getStart(source.tree));
    if ([line, line - 1, firstLine - 1].some((candidate) => reasons?.has(candidate))) return;
    const message = `cast without a reason beside it: ${node.type.getText(source.tree)}`;
    findings.push({ file: source.path, line, message });
  });
  return findings;
}

function isCast(node: ts.Node): node is ts.AsExpression | ts.TypeAssertion {
  return (
    (ts.isAsExpression(node) || ts.isTypeAssertionExpression(node)) && !ts.isConstTypeReference(node.type)
  );
}

/** The lines on which a comment ends. Doc comments speak of the declaration, and linter directives to the linter. */
function linesWithReasons(source: Source): Set<number> {
  const reasons = commentsOf(source).filter(({ text }) => !/^\/\*\*|^\/\/ (biome-ignore|@ts-)/.test(text));
  return new Set(reasons.map(({ lastLine }) => lastLine));
}
