import type { ViewOf } from '../spec/guest-endian.ts';
import { Segments } from './segments.ts';

/** What a queue and the cursors must know of a chain. */
export class ChainState extends Segments {
  /**
   * Above 0 while the device has the chain, and then the number of this taking among all of its queue: later
   * ones are larger, and a cursor sees that its fields are of another. Otherwise one of `not-live.ts`.
   */
  turn = 0;
  /** The turn of the chain that was taken before it. */
  before = 0;
  /** Head index or Buffer ID. */
  id = 0;
  /** Ring entries that the buffer occupies: descriptors of a packed list, 1 otherwise. */
  entries = 1;
  /** The used length: how far the device has written. */
  written = 0;
  /** The byte order of numbers in the buffer: false only for a legacy driver of a big-endian guest. */
  readonly little: boolean;

  /** How structures in it are seen; set for that legacy driver alone. */
  readonly viewOf: ViewOf | undefined;

  constructor(viewOf?: ViewOf) {
    super();
    this.little = viewOf === undefined;
    this.viewOf = viewOf;
  }
}
