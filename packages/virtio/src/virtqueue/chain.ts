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
export class Chain {
  /** @internal */
  readonly state: ChainState = new ChainState();
  readonly readable: ReadableCursor = new ReadableCursor(this.state);
  readonly writable: WritableCursor = new WritableCursor(this.state);

  /** Head index (split) or Buffer ID (packed). */
  get id(): number {
    return this.state.id;
  }

  /** False once completed, or dead after a reset. */
  get live(): boolean {
    return this.state.turn > 0;
  }
}
