import type { ElementProblem } from './segments.ts';

/** What to tell people of a chain with a bad element. */
export function elementMessage(problem: ElementProblem): string {
  switch (problem) {
    case 'ADDRESS_OUT_OF_BOUNDS':
      return 'an element of a chain is not all in memory';
    case 'CHAIN_TOO_LARGE':
      return 'a chain is longer than 4 GiB';
  }
}
