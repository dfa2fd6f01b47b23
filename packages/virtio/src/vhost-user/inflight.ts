import type { Descriptor, DescriptorHost, MappedMemory } from '../channel/descriptors.ts';
import type { QueueWatch } from '../device/active-queue.ts';
import { PeerError } from '../errors.ts';
import { OrderedView } from '../memory/atomics.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Region } from '../memory/region.ts';
import { hostEndian } from '../spec/host-endian.ts';
import type { StructValue } from '../spec/layout.ts';
import type { DeviceQueueState, QueueAreas } from '../virtqueue/queue.ts';
import { inflightRegionSize, QueueRegionPacked, QueueRegionSplit } from './inflight-layout.ts';
import { PackedInflight } from './inflight-packed.ts';
import { SplitInflight } from './inflight-split.ts';
import { bad } from './message-stream.ts';
import type { VhostUserInflight } from './payloads.ts';

type Description = StructValue<(typeof VhostUserInflight)['codecs']>;

/** Where a queue goes on, and who keeps track of it from there. */
export interface Recovered {
  readonly state: DeviceQueueState;
  readonly watch: QueueWatch;
}

/** Bytes of the memory for all queues. */
export function inflightSize({ num_queues, queue_size }: Description, packed: boolean): number {
  return num_queues * inflightRegionSize(queue_size, packed);
}

/** The memory in which a back end keeps what is in flight, and which the front end keeps for it. */
export class InflightMemory {
  readonly #mapping: MappedMemory;
  readonly #region: Region;
  readonly #queueSize: number;
  readonly #packed: boolean;

  /**
   * The descriptor stays the caller's.
   *
   * @throws {PeerError} BAD_MESSAGE for memory that is too small for what it is to hold.
   * @throws {HostError} when it cannot be mapped.
   */
  constructor(host: DescriptorHost, descriptor: Descriptor, of: Description, packed: boolean) {
    const needed = inflightSize(of, packed);
    const { mmap_size, mmap_offset, num_queues, queue_size } = of;
    const fits = mmap_size >= BigInt(needed) && mmap_offset <= BigInt(Number.MAX_SAFE_INTEGER);
    if (needed === 0 || !fits || mmap_offset % 8n !== 0n) {
      throw bad(`${mmap_size} bytes cannot hold what is in flight in ${num_queues} queues of ${queue_size}`);
    }
    this.#mapping = host.map(descriptor, Number(mmap_offset), needed);
    this.#region = new Region(0, this.#mapping.pieces[0] ?? { buffer: new ArrayBuffer(0) }, { shared: true });
    this.#queueSize = queue_size;
    this.#packed = packed;
  }

  /**
   * What was in flight in a queue when this back end, or the one before it, let go of it. A queue of which nothing is
   * known begins at `first`: the used index of a split ring, or the place of the next used descriptor of a packed one.
   */
  recover(index: number, memory: GuestMemory, areas: QueueAreas, first: number): Recovered | PeerError {
    const length = inflightRegionSize(this.#queueSize, this.#packed);
    const isThere = (index + 1) * length <= this.#region.length && areas.size <= this.#queueSize;
    if (!isThere) {
      return bad(
        `the memory for what is in flight has no place for queue ${index} of ${areas.size} descriptors`,
      );
    }
    const region = new OrderedView(this.#region, index * length, length, hostEndian);
    if (this.#packed) {
      const watch = new PackedInflight(region, memory, areas);
      const state = watch.recover(first);
      return state instanceof PeerError ? state : { state, watch };
    }
    const watch = new SplitInflight(region, areas.size);
    const state = watch.recover(memory, areas, first);
    return state instanceof PeerError ? state : { state, watch };
  }

  /** A queue was stopped behind all that it had taken: where it goes on is told anew, and it may be another one. */
  forget(index: number): void {
    const at = index * inflightRegionSize(this.#queueSize, this.#packed);
    const { version } = (this.#packed ? QueueRegionPacked : QueueRegionSplit).field;
    if (at + version.offset < this.#region.length) version.set(this.#region.view, at, 0);
  }

  /** Nothing may be tracked any more. */
  close(): void {
    this.#mapping.close();
  }
}
