import type { Chain } from '../../virtqueue/chain.ts';
import type { Caller, Interruption } from './file-tree.ts';
import type { Handle } from './handle-table.ts';
import type { KnownNode } from './node-table.ts';

/**
 * A request that is under way. They are used again and again: as many are made as were ever under way at once. It is the
 * caller to a file tree, too.
 */
export class FuseRequest implements Caller {
  chain: Chain | undefined;
  /** The session that it came in. */
  epoch = 0;
  opcode = 0;
  /** As it lies in the request, so that the answer has the very same. */
  readonly unique: Uint8Array<ArrayBuffer> = new Uint8Array(8);
  nodeid = 0;
  uid = 0;
  gid = 0;
  pid = 0;
  /** Bytes, by its header. */
  length = 0;

  /** What it is about: held as long as it is under way. */
  known: KnownNode | undefined;
  otherKnown: KnownNode | undefined;
  handle: Handle | undefined;
  otherHandle: Handle | undefined;
  /** What its answer needs of it beside: open flags, or a size. */
  detail = 0;

  /** Set where it can be interrupted. */
  interruption: Interruption | undefined;

  forgetAll(): void {
    this.chain = undefined;
    this.known = undefined;
    this.otherKnown = undefined;
    this.handle = undefined;
    this.otherHandle = undefined;
    this.interruption = undefined;
  }

  /** It waits for the tree: what it is about must stay. */
  hold(): void {
    if (this.known !== undefined) this.known.holds++;
    if (this.otherKnown !== undefined) this.otherKnown.holds++;
    if (this.handle !== undefined) this.handle.busy++;
    if (this.otherHandle !== undefined) this.otherHandle.busy++;
  }
}
