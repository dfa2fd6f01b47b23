import type { Chain } from './chain.ts';
import type { BufferElement } from './queue.ts';
import { saveChain } from './saved-chain.ts';

/** One element of a chain as the driver framed it. */
export interface ChainElement extends BufferElement {
  /** True for what the device writes. */
  readonly writable: boolean;
}

/** The elements of a chain, in order: for traces alone, since devices must not depend on them. */
export function chainElements(chain: Chain): ChainElement[] {
  const { readable, writable } = saveChain(chain);
  return [...pairs(readable, false), ...pairs(writable, true)];
}

function pairs(flat: readonly number[], writable: boolean): ChainElement[] {
  return Array.from({ length: flat.length / 2 }, (_, i) => {
    return { address: flat[2 * i] ?? 0, length: flat[2 * i + 1] ?? 0, writable };
  });
}
