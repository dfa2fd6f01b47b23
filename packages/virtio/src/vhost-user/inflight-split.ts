import type { QueueWatch } from '../device/active-queue.ts';
import { PeerError } from '../errors.ts';
import type { OrderedView } from '../memory/atomics.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Chain } from '../virtqueue/chain.ts';
import type { DeviceQueueState, QueueAreas } from '../virtqueue/queue.ts';
import { DescStateSplit, inflightVersion, QueueRegionSplit } from './inflight-layout.ts';
import { recoverSplitChain } from './recovered-chain.ts';

const header = QueueRegionSplit.field;
const state = DescStateSplit.field;

/**
 * Keeps what is in flight in a split queue where the death of this process does not reach it. The order of the writes
 * is all: whenever it ends, the region tells what the driver does not have back.
 */
export class SplitInflight implements QueueWatch {
  readonly #region: OrderedView;
  readonly #little: boolean;
  readonly #size: number;
  /** Heads that are given back and not published. */
  readonly #batch: Uint16Array;
  #batchSize = 0;
  #counter = 0n;
  #usedIndex = 0;

  /** `region` are the bytes of this queue, those of `size` descriptors. */
  constructor(region: OrderedView, size: number) {
    this.#region = region;
    this.#little = region.little;
    this.#size = size;
    this.#batch = new Uint16Array(size);
  }

  /**
   * Where the queue goes on: behind what was taken before, which is taken once more first, in the order of then.
   * `usedIndex` is that of the ring.
   */
  recover(memory: GuestMemory, areas: QueueAreas, usedIndex: number): DeviceQueueState | PeerError {
    const { view } = this.#region;
    if (header.version.get(view) !== inflightVersion) this.#begin(usedIndex);
    this.#strikeOff(usedIndex);
    const heads = this.#inFlight();
    const inFlight = heads.map(({ head }) => recoverSplitChain(memory, areas.descriptor, this.#size, head));
    const sound = inFlight.filter((chain) => chain !== undefined);
    if (sound.length < heads.length) {
      return new PeerError('BAD_MESSAGE', 'vhost-user: a buffer that was in flight is none any more');
    }
    this.#counter = (heads.at(-1)?.counter ?? 0n) + 1n;
    return {
      nextAvailable: (usedIndex + heads.length) & 0xffff,
      nextUsed: usedIndex,
      availableWrap: 1,
      usedWrap: 1,
      inFlight: sound,
    };
  }

  taken(chain: Chain): void {
    const at = this.#at(chain.id);
    const { view } = this.#region;
    // It was taken before, by a process that has died.
    if (state.inflight.get(view, at) === 1) return;
    state.counter.set(view, at, this.#counter++);
    this.#flag(at, 1);
  }

  untaken(chain: Chain): void {
    this.#flag(this.#at(chain.id), 0);
  }

  completed(chain: Chain): void {
    const { view } = this.#region;
    view.setUint16(this.#at(chain.id) + state.next.offset, header.last_batch_head.get(view), this.#little);
    this.#region.storeRelease16(header.last_batch_head.offset, chain.id);
    this.#batch[this.#batchSize++] = chain.id;
  }

  published(): void {
    if (this.#batchSize === 0) return;
    for (let i = 0; i < this.#batchSize; i++) this.#flag(this.#at(this.#batch[i]!), 0);
    this.#usedIndex = (this.#usedIndex + this.#batchSize) & 0xffff;
    this.#region.storeRelease16(header.used_idx.offset, this.#usedIndex);
    this.#batchSize = 0;
  }

  #at(head: number): number {
    return QueueRegionSplit.size + head * DescStateSplit.size;
  }

  #begin(usedIndex: number): void {
    const { view } = this.#region;
    for (let head = 0; head < this.#size; head++) this.#flag(this.#at(head), 0);
    header.desc_num.set(view, 0, this.#size);
    header.used_idx.set(view, 0, usedIndex);
    this.#region.storeRelease16(header.version.offset, inflightVersion);
  }

  /** The process may have died between publishing a batch and striking it off. */
  #strikeOff(usedIndex: number): void {
    const { view } = this.#region;
    const count = Math.min((usedIndex - header.used_idx.get(view)) & 0xffff, this.#size);
    let head = header.last_batch_head.get(view);
    for (let i = 0; i < count && head < this.#size; i++) {
      this.#flag(this.#at(head), 0);
      head = state.next.get(view, this.#at(head));
    }
    this.#usedIndex = usedIndex;
    this.#region.storeRelease16(header.used_idx.offset, usedIndex);
  }

  /** Oldest first. */
  #inFlight(): { readonly head: number; readonly counter: bigint }[] {
    const { view } = this.#region;
    const heads = [];
    for (let head = 0; head < this.#size; head++) {
      const at = this.#at(head);
      if (state.inflight.get(view, at) === 1) heads.push({ head, counter: state.counter.get(view, at) });
    }
    return heads.sort((a, b) => (a.counter < b.counter ? -1 : 1));
  }

  #flag(at: number, value: 0 | 1): void {
    // With the byte behind it, which is padding.
    this.#region.storeRelease16(at, this.#little ? value : value << 8);
  }
}
