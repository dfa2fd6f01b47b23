/** What a driver writes of one queue before it enables it. Transports fill it in; the core reads it. */
export interface QueueSetup {
  /** The largest size, in descriptors; 0 when the queue does not exist. */
  readonly maxSize: number;
  /** Queue Size, in descriptors; `maxSize` until the driver chooses. */
  size: number;
  /** Guest addresses of the three areas. */
  descriptor: number;
  driver: number;
  device: number;
  /** Set by `DeviceCore.enableQueue`. */
  enabled: boolean;
}

/** A queue as it is before a driver touches it. */
export function defaultQueueSetup(maxSize = 0): QueueSetup {
  return { maxSize, size: maxSize, descriptor: 0, driver: 0, device: 0, enabled: false };
}
