import ts from 'typescript';
import { lineAt, type Source } from './source.ts';

export interface Comment {
  readonly text: string;
  /** Position of its first character. */
  readonly start: number;
  readonly firstLine: number;
  readonly lastLine: number;
}

/** Every comment of a file, in order. Found through the tokens, so a string that looks like one is none. */
export function commentsOf(source: Source): Comment[] {
  const found = new Map<number, Comment>();
  const add = (ranges: ts.CommentRange[] | undefined): void => {
    for (const { pos, end } of ranges ?? []) {
      const text = source.text.slice(pos, end);
      found.set(pos, { text, start: pos, firstLine: lineAt(source, pos), lastLine: lineAt(source, end) });
    }
  };
  const step = (node: ts.Node): void => {
    if (ts.isJSDoc(node)) return;
    const children = node.getChildren(source.tree);
    if (children.length === 0) {
      add(ts.getLeadingCommentRanges(source.text, node.getFullStart()));
      add(ts.getTrailingCommentRanges(source.text, node.end));
    }
    children.forEach(step);
  };
  step(source.tree);
  return [...found.values()].sort((a, b) => a.start - b.start);
}
