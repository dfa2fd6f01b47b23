import type { ClauseList } from '../clauses/clause-list.ts';
import { citedClause, tagsOf } from '../clauses/tags.ts';
import type { Source } from '../source/source.ts';
import type { Finding } from './finding.ts';

/** Every `@spec` names a clause of v1.4 by its side and label, with the right number. */
export function checkClauseTags(sources: readonly Source[], clauses: ClauseList): Finding[] {
  return sources.flatMap((source) =>
    tagsOf(source)
      .filter(({ kind }) => kind === 'spec')
      .flatMap((tag) => {
        const cited = citedClause(tag, clauses);
        return 'problem' in cited ? [{ file: source.path, line: tag.line, message: cited.problem }] : [];
      }),
  );
}
