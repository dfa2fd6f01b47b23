import { ChainState } from './chain-state.ts';
import { ReadableCursor } from './readable-cursor.ts';
import { WritableCursor } from './writable-cursor.ts';

export type { Cursor } from './cursor.ts';
export { ReadableCursor } from './readable-cursor.ts';
export { WritableCursor } from './writable-cursor.ts';

/**
 * One buffer that the driver made available, the same whichever ring it came from. Chains are used again: do
 * not keep one past its completion.
 */
export class Chain extends ChainState {
  readonly readable: ReadableCursor = new ReadableCursor(this);
  readonly writable: WritableCursor = new WritableCursor(this);

  /** False once completed, or dead after a reset. */
  get live(): boolean {
    return this.turn > 0;
  }
}
