import type { ElementProblem } from './segments.ts';

/** What to tell people of a chain with a bad element; `id` is its head index or buffer id. */
export function elementMessage(problem: ElementProblem, id: number): string {
  switch (problem) {
    case 'ADDRESS_OUT_OF_BOUNDS':
      return `an element of chain ${id} is not all in memory`;
    case 'CHAIN_TOO_LARGE':
      return `chain ${id} is longer than 4 GiB`;
    case 'READABLE_AFTER_WRITABLE':
      return `chain ${id} has a device-readable element behind a device-writable one`;
  }
}
