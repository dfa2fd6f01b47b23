import { needEvent } from '../need-event.ts';
import { ringEventFlags } from './layout.ts';
import type { Position } from './position.ts';

const { DISABLE, DESC } = ringEventFlags;

/**
 * True when the other side, whose event suppression structure reads `suppression` (32 bits), wants to be told
 * of the `count` descriptors that were written up to `position`.
 */
export function needPackedEvent(
  suppression: number,
  position: Position,
  count: number,
  size: number,
  eventIdx: boolean,
): boolean {
  const flags = (suppression >>> 16) & 3;
  if (flags === DISABLE) return false;
  if (flags !== DESC || !eventIdx) return true;
  const wrap = (suppression >>> 15) & 1;
  const offset = suppression & 0x7fff;
  // An event of the other lap lies one ring behind, as seen from our position.
  const event = wrap === position.wrap ? offset : offset - size;
  return needEvent(event, position.offset, position.offset - count);
}
