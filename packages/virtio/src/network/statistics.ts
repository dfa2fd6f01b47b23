/** Why a frame, or a part of it, went nowhere. */
export type DropReason =
  /** Shorter than its headers say, or too short for them. */
  | 'truncated'
  /** A header that its standard forbids. */
  | 'malformed'
  | 'bad-checksum'
  /** For another station's MAC address. */
  | 'other-station'
  /** A protocol over Ethernet or IP that this network does not speak. */
  | 'unknown-protocol'
  /** From an address that no guest of this network has. */
  | 'bad-source'
  /** For an address that is no place, or one that a rule keeps from guests. */
  | 'prohibited'
  /** For an address of this network that nobody has. */
  | 'no-such-host'
  /** Its hop limit ended here. */
  | 'hop-limit'
  /** A fragment of a datagram that was given up: overlapping, too many, too late. */
  | 'fragment'
  /** Above one of the network's limits. */
  | 'limit'
  /** The guest had no room for it. */
  | 'no-room'
  /** The uplink had no room for it, or has no such way. */
  | 'uplink';

/** All of {@link DropReason}. */
export const dropReasons: readonly DropReason[] = [
  'truncated',
  'malformed',
  'bad-checksum',
  'other-station',
  'unknown-protocol',
  'bad-source',
  'prohibited',
  'no-such-host',
  'hop-limit',
  'fragment',
  'limit',
  'no-room',
  'uplink',
];

/** What passed through a network, and what did not. Numbers go up for as long as the network is there. */
export class Statistics {
  receivedFrames = 0;
  receivedBytes = 0;
  sentFrames = 0;
  sentBytes = 0;
  /** How much was dropped for each reason. */
  readonly dropped: Record<DropReason, number>;

  constructor() {
    // Every reason is there from the beginning, so that the cast is true.
    this.dropped = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>;
  }

  drop(reason: DropReason): void {
    this.dropped[reason]++;
  }

  /** Everything that was dropped. */
  get allDropped(): number {
    return dropReasons.reduce((sum, reason) => sum + this.dropped[reason], 0);
  }
}
