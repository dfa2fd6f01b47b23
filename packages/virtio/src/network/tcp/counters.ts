/** What happened, counted since the beginning. */
export interface TcpCounters {
  segmentsIn: number;
  /** In as few pieces as they were given away: a large one that is cut later counts once. */
  segmentsOut: number;
  /** Of them, those that were sent again. */
  retransmissions: number;
  /** Segments that were none, or whose checksum was wrong. */
  malformed: number;
  /** Acknowledgments that were sent because a segment looked forged (RFC 5961). */
  challenges: number;
  resetsOut: number;
  /** Connections of peers for which there was no room. */
  overflows: number;
}

export function newCounters(): TcpCounters {
  return {
    segmentsIn: 0,
    segmentsOut: 0,
    retransmissions: 0,
    malformed: 0,
    challenges: 0,
    resetsOut: 0,
    overflows: 0,
  };
}
