import { copied, offsetOf } from './table.ts';

/** What an entry of an L2 table says of a cluster of the disk. */
export type ClusterKind = 'unallocated' | 'data' | 'zero' | 'compressed';

const compressed = 0x4000_0000;
/** Bit 0: it reads as 0, whatever it refers to. */
export const zeroFlag = 1;

export function kindOf(high: number, low: number, version: 2 | 3): ClusterKind {
  if ((high & compressed) !== 0) return 'compressed';
  if (version === 3 && (low & zeroFlag) !== 0) return 'zero';
  return offsetOf(high, low) === 0 ? 'unallocated' : 'data';
}

export const isCopied = (high: number): boolean => (high & copied) !== 0;

/** Where compressed bytes lie; they end where a whole cluster has come out of them, or before. */
export interface CompressedRange {
  readonly offset: number;
  readonly length: number;
}

export function compressedRange(high: number, low: number, clusterBits: number): CompressedRange {
  const bits = 62 - (clusterBits - 8);
  const entry = (BigInt(high & 0x3fff_ffff) << 32n) | BigInt(low >>> 0);
  const offset = Number(entry & ((1n << BigInt(bits)) - 1n));
  const sectors = Number(entry >> BigInt(bits)) + 1;
  return { offset, length: sectors * 512 - (offset % 512) };
}
