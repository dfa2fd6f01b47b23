/** How long an association lives; a limit of 0 is none. */
export interface LifetimeLimits {
  readonly packetsSoft: number;
  readonly bytesSoft: number;
  readonly packetsHard: number;
  readonly bytesHard: number;
}

export const unlimited: LifetimeLimits = Object.freeze({
  packetsSoft: 0,
  bytesSoft: 0,
  packetsHard: 0,
  bytesHard: 0,
});

/** What an association has done, and how much more it may. Bytes are those of plain IP packets. */
export class Lifetime {
  packets = 0;
  bytes = 0;
  readonly #limits: LifetimeLimits;

  constructor(limits: LifetimeLimits) {
    this.#limits = limits;
  }

  /** False when a hard limit was reached, or a packet of so many bytes would go beyond it. */
  allows(bytes: number): boolean {
    const { packetsHard, bytesHard } = this.#limits;
    if (packetsHard > 0 && this.packets >= packetsHard) return false;
    return bytesHard === 0 || this.bytes + bytes <= bytesHard;
  }

  count(bytes: number): void {
    this.packets++;
    this.bytes += bytes;
  }

  /** A soft limit was reached: it is time for a new association. */
  get soft(): boolean {
    const { packetsSoft, bytesSoft } = this.#limits;
    return (packetsSoft > 0 && this.packets >= packetsSoft) || (bytesSoft > 0 && this.bytes >= bytesSoft);
  }
}
