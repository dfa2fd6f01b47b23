import type { Watcher } from './cable.ts';
import { type Offload, segmentation } from './offload.ts';
import { interfaceBlock, packetBlock, packetFlags, sectionBlock } from './pcapng.ts';

/** Where a capture goes, and what it keeps. */
export interface CaptureOptions {
  /** Takes a piece of the file, in order; the bytes are the taker's from then on. */
  readonly write: (piece: Uint8Array) => void;
  /** The time, in nanoseconds since 1970; by `Date`, unless told. */
  readonly now?: () => bigint;
  /** Bytes of a frame that are kept at most; all of them, unless told. */
  readonly snapLength?: number;
  /** Who writes, for readers of the file. */
  readonly application?: string;
}

interface Seen {
  readonly piece: Uint8Array;
  refused: boolean;
}

/**
 * Frames of cables as a pcapng file, which tshark and Wireshark read. Each cable is an interface of it. Frames are written as
 * they were sent, unfinished ones too; their flags say what is left to do.
 */
export class Capture {
  readonly #options: CaptureOptions;
  readonly #now: () => bigint;
  readonly #pending: Seen[] = [];
  #open = 0;
  #interfaces = 0;

  constructor(options: CaptureOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => BigInt(Date.now()) * 1_000_000n);
    options.write(
      sectionBlock(options.application === undefined ? {} : { application: options.application }),
    );
  }

  /** A watcher for one cable. What its first end sends is outbound. */
  interface(name: string, description?: string): Watcher {
    const { snapLength = 0 } = this.#options;
    const number = this.#interfaces++;
    this.#options.write(interfaceBlock({ name, description, snapLength }));
    // Frames may be sent while one is handed over; the last that was sent is the first of which one hears.
    const ways: readonly [Seen[], Seen[]] = [[], []];
    return {
      sent: (frame, offload, fromFirst) => {
        const seen = { piece: this.#piece(number, frame, offload, fromFirst), refused: false };
        ways[fromFirst ? 0 : 1].push(seen);
        this.#pending.push(seen);
        this.#open++;
      },
      taken: (fromFirst) => this.#settle(ways[fromFirst ? 0 : 1].pop(), false),
      refused: (fromFirst) => this.#settle(ways[fromFirst ? 0 : 1].pop(), true),
    };
  }

  #piece(number: number, frame: Uint8Array, offload: Offload, fromFirst: boolean): Uint8Array {
    const { snapLength } = this.#options;
    let flags: number = fromFirst ? packetFlags.OUTBOUND : packetFlags.INBOUND;
    if (offload.needsChecksum) flags |= packetFlags.CHECKSUM_NOT_READY;
    if (offload.checksumValid) flags |= packetFlags.CHECKSUM_VALID;
    if (offload.segmentation !== segmentation.NONE) flags |= packetFlags.SEGMENTATION_OFFLOADED;
    const kept = snapLength === undefined ? {} : { length: snapLength };
    return packetBlock({ interface: number, time: this.#now(), frame, flags, ...kept });
  }

  /** Writes what was seen, in the order in which it was sent, once all of it is known to be taken or not. */
  #settle(seen: Seen | undefined, refused: boolean): void {
    if (seen === undefined) return;
    seen.refused = refused;
    this.#open--;
    if (this.#open > 0) return;
    for (const { piece, refused: again } of this.#pending.splice(0)) if (!again) this.#options.write(piece);
  }
}
