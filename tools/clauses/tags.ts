import { commentsOf } from '../source/comments.ts';
import type { Source } from '../source/source.ts';
import type { ClauseList } from './clause-list.ts';

/** A comment line that cites a clause: `@spec` where code upholds it, `@holds` where a test shows it. */
export interface Tag {
  readonly kind: 'spec' | 'holds';
  /** What follows the tag's name. */
  readonly text: string;
  readonly line: number;
  /** Position of the comment that holds it. */
  readonly position: number;
}

/** The tags of a file: each stands at the beginning of a comment's line, so prose may mention them. */
export function tagsOf(source: Source): Tag[] {
  return commentsOf(source).flatMap(({ text, start, firstLine }) =>
    text.split('\n').flatMap((row, index): Tag[] => {
      const [, kind, rest] = /^\s*(?:\/\/|\/\*+|\*)?\s*@(spec|holds)\b(.*?)(?:\*\/)?\s*$/.exec(row) ?? [];
      if (kind !== 'spec' && kind !== 'holds') return [];
      return [{ kind, text: (rest ?? '').trim(), line: firstLine + index, position: start }];
    }),
  );
}

/** The clause a tag cites, or what is wrong with it. */
export function citedClause(
  tag: Tag,
  clauses: ClauseList,
): { readonly id: string } | { readonly problem: string } {
  const [, number, id] = /^(\d+(?:\.\d+)*) ((?:device|driver): .+)$/.exec(tag.text) ?? [];
  if (number === undefined || id === undefined) {
    return { problem: `@${tag.kind} reads \`@${tag.kind} NUMBER device|driver: LABEL\`, not "${tag.text}"` };
  }
  const clause = clauses.get(id);
  if (clause === undefined) return { problem: `@${tag.kind} cites no clause of v1.4: "${id}"` };
  if (clause.number !== number)
    return { problem: `@${tag.kind} says ${number}; that label is ${clause.number}` };
  return { id };
}
