/**
 * True when an index that moved from `before` to `after` passed the entry that the other side waits for: the
 * one at `event` was written. All three run freely and wrap at 65536, so the comparison is of distances.
 */
export function needEvent(event: number, after: number, before: number): boolean {
  return ((after - event - 1) & 0xffff) < ((after - before) & 0xffff);
}
