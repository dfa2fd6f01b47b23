import type { ElementProblem } from './segments.ts';

/** What to tell people of an element that breaks its chain. */
export function elementMessage(problem: ElementProblem, address: number, length: number): string {
  const element = `${length} bytes at address 0x${address.toString(16)}`;
  switch (problem) {
    case 'ADDRESS_OUT_OF_BOUNDS':
      return `${element} are not all memory`;
    case 'CHAIN_TOO_LARGE':
      return `${element} make the chain longer than 4 GiB`;
    case 'READABLE_AFTER_WRITABLE':
      return `${element} are device-readable and follow device-writable ones`;
  }
}
