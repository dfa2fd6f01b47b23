import type { Allocator } from '../memory/allocator.ts';
import type { RingOptions } from './queue.ts';

/** What a driver's queue must know. */
export interface DriverRingOptions extends RingOptions {
  /** Used lengths that are too large are cut: some legacy devices never told them right. False unless told. */
  readonly ignoresUsedLength?: boolean;
  /** The device tells in a packed ring how much it wrote, but not that it did. False unless told. */
  readonly usedLengthWithoutWrite?: boolean;
  /** Where indirect tables are allocated. Without one, none are used. */
  readonly allocator?: Allocator;
  /**
   * Which buffers go through an indirect table, where VIRTIO_F_INDIRECT_DESC was negotiated: `auto` (the
   * default) those of two elements or more, `always` those of one as well.
   */
  readonly indirectPolicy?: 'never' | 'auto' | 'always';
}

/** How many elements a buffer must have to go through an indirect table. */
export function indirectThreshold(options: DriverRingOptions): number {
  if (!options.indirect || options.allocator === undefined) return Infinity;
  const policy = options.indirectPolicy ?? 'auto';
  return policy === 'never' ? Infinity : policy === 'always' ? 1 : 2;
}
