/** Bytes of one buffer that change when they have been read once. */
export interface Change {
  readonly buffer: ArrayBufferLike;
  /** Bytes from the start of the buffer. */
  readonly from: number;
  readonly to: number;
}

const reads = ['getUint8', 'getUint16', 'getUint32', 'getBigUint64'] as const;
const widths = { getUint8: 1, getUint16: 2, getUint32: 4, getBigUint64: 8 } as const;

/**
 * Runs `work` while memory changes behind its back: whatever it reads of the range through a DataView is
 * turned into all ones the moment after. Another processor could do so at any time; here it happens each
 * time, and at the worst moment. Gives the number of reads that were followed by a change.
 */
export function whileMemoryChanges(change: Change, work: () => void): number {
  const originals = reads.map((name) => [name, DataView.prototype[name]] as const);
  let changed = 0;
  for (const [name, original] of originals) {
    const width = widths[name];
    DataView.prototype[name] = function (this: DataView, offset: number, little?: boolean): never {
      const value = Reflect.apply(original, this, [offset, little]);
      const at = this.byteOffset + offset;
      if (this.buffer === change.buffer && at >= change.from && at + width <= change.to) {
        new Uint8Array(change.buffer, at, width).fill(0xff);
        changed++;
      }
      // One replacement stands for methods with different results; each gives what its original gave.
      return value as never;
    };
  }
  try {
    work();
  } finally {
    for (const [name, original] of originals) Object.assign(DataView.prototype, { [name]: original });
  }
  return changed;
}
