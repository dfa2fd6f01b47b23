/** What a receive queue has done, since the device was made. */
export class RxCounters {
  notifications = 0;
  /** Those to the driver, counted for drivers that ask for statistics or coalescing. */
  interrupts = 0;
  packets = 0;
  bytes = 0;
  /** Frames that were dropped, for whatever reason. */
  drops = 0;
  /** Those among them for which no buffer was large enough. */
  overruns = 0;
  checksumValid = 0;
  needsChecksum = 0;
  /** Frames with segmentation left to do. */
  gsoPackets = 0;
  gsoBytes = 0;
}

/** What a transmit queue has done, since the device was made. */
export class TxCounters {
  notifications = 0;
  /** Those to the driver, counted for drivers that ask for statistics or coalescing. */
  interrupts = 0;
  packets = 0;
  bytes = 0;
  /** Frames that were dropped, for whatever reason. */
  drops = 0;
  /** Those among them that could not be what they said. */
  malformed = 0;
  needsChecksum = 0;
  gsoPackets = 0;
  gsoBytes = 0;
}
