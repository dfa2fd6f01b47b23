import ts from 'typescript';
import type { Source } from '../source/source.ts';
import { caseOf } from './case-objects.ts';

/** A test or a conformance case in a file, with the comments above it. */
export interface TestBlock {
  /** The titles of the enclosing `describe`s and its own, or a case's statement. */
  readonly title: string;
  readonly start: number;
  readonly end: number;
  /** Marked so that it does not run. */
  readonly skipped: boolean;
}

export function testBlocksOf(source: Source): TestBlock[] {
  const blocks: TestBlock[] = [];
  const step = (node: ts.Node, titles: readonly string[], skipped: boolean): void => {
    const call = runnerCall(node);
    const inner = call ? [...titles, call.title] : titles;
    const off = skipped || (call?.skipped ?? false);
    const title = call?.isTest ? inner.join(' › ') : caseOf(node)?.statement;
    if (title !== undefined) blocks.push({ title, ...extentOf(node), skipped: off });
    ts.forEachChild(node, (child) => step(child, inner, off));
  };
  step(source.tree, [], false);
  return blocks;
}

/** A call stands in its statement, whose full extent begins with the comments above it. */
function extentOf(node: ts.Node): { readonly start: number; readonly end: number } {
  const whole = ts.isExpressionStatement(node.parent) ? node.parent : node;
  return { start: whole.getFullStart(), end: whole.end };
}

interface RunnerCall {
  readonly title: string;
  readonly isTest: boolean;
  readonly skipped: boolean;
}

/** `it('…')`, `test.each(…)('…')`, `describe('…')` and their kin. */
function runnerCall(node: ts.Node): RunnerCall | undefined {
  if (!ts.isCallExpression(node) || node.arguments.length < 1) return undefined;
  const names = calleeNames(node.expression);
  const runner = names[0];
  const isTest = runner === 'it' || runner === 'test';
  if (!isTest && runner !== 'describe') return undefined;
  // `it.each(table)` is the callee of the call that carries the title.
  if (ts.isCallExpression(node.parent) && node.parent.expression === node) return undefined;
  return {
    title: titleOf(node.arguments[0]),
    isTest,
    skipped: names.includes('skip') || names.includes('todo'),
  };
}

/** `it.skip.each(table)` is it, skip, each. */
function calleeNames(node: ts.Expression): string[] {
  if (ts.isIdentifier(node)) return [node.text];
  if (ts.isPropertyAccessExpression(node)) return [...calleeNames(node.expression), node.name.text];
  if (ts.isCallExpression(node)) return calleeNames(node.expression);
  if (ts.isTaggedTemplateExpression(node)) return calleeNames(node.tag);
  return [];
}

function titleOf(node: ts.Expression | undefined): string {
  if (node === undefined) return '';
  if (ts.isStringLiteralLike(node)) return node.text;
  const text = node.getText();
  return ts.isTemplateExpression(node) ? text.slice(1, -1) : text;
}
