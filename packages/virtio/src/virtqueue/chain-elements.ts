import { nowhere } from '../memory/region.ts';
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

/** A copy of some bytes of one side of a chain, wherever the driver cut it; fewer where there are no more. Likewise. */
export function chainBytes(
  chain: Chain,
  side: 'readable' | 'writable',
  at: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  const { spans, writableFrom, spanCount, region, regions } = chain;
  const [first, stop] = side === 'readable' ? [0, writableFrom] : [writableFrom, spanCount];
  const bytes = new Uint8Array(count);
  let filled = 0;
  let skip = at;
  for (let i = first; i < stop && filled < count; i++) {
    const length = spans[2 * i + 1] ?? 0;
    const taken = Math.min(length - skip, count - filled);
    if (taken > 0) {
      const { bytes: memory, start, removed } = region ?? regions[i] ?? nowhere;
      if (removed) break;
      const offset = (spans[2 * i] ?? 0) - start + skip;
      bytes.set(memory.subarray(offset, offset + taken), filled);
      filled += taken;
    }
    skip = Math.max(0, skip - length);
  }
  return bytes.subarray(0, filled);
}
