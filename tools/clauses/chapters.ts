import type { Clause } from './clause-list.ts';

/**
 * The chapter a clause is counted under: the device type or the transport where there is one (5.2, 4.1),
 * otherwise the whole chapter.
 */
export function chapterOf({ number, label }: Pick<Clause, 'number' | 'label'>): string {
  const [chapter, section] = number.split('.');
  const [first, second] = label.split(' / ');
  return chapter === '4' || chapter === '5' ? `${chapter}.${section} ${second}` : `${chapter} ${first}`;
}
