import type { ReservedFeatureName } from '../../spec/features.ts';
import type { NetTimer } from './coalescing.ts';
import type { FrameSecurity } from './security.ts';
import type { NetFeature } from './spec.ts';
import type { FrameFilter } from './steering.ts';

/** How a network device is made. */
export interface NetOptions {
  /** The driver's address, in bytes or as `52:54:00:12:34:56`; one that is nobody's unless told. */
  readonly mac?: string | Uint8Array;
  /** Bytes of the largest packet behind its Ethernet header, 68 to 65535; the driver is not told of any unless it is here. */
  readonly mtu?: number;
  /** Pairs of a receive and a transmit queue, 1 to 32768; 1 unless told. */
  readonly queuePairs?: number;
  /** Descriptors in each queue; 256 unless told. */
  readonly queueSize?: number;
  /** Units of 1 MBit per second, 0 to 0x7fffffff; the driver is not told unless it is here. */
  readonly speed?: number;
  /** Full unless told; of interest with `speed` alone. */
  readonly duplex?: 'full' | 'half';
  /** The device stands by for another one with the same address. */
  readonly standby?: boolean;
  /**
   * Of what the device can, the features that it offers. Unless told all but HASH_REPORT, OUT_NET_HEADER and RSC_EXT, and RSS for
   * a single pair of queues, which cost something with each frame and are of use to few.
   */
  readonly offers?: readonly NetFeature[];
  /** Features that it offers beyond those. */
  readonly also?: readonly NetFeature[];
  /** Features that it does not offer, of those. */
  readonly without?: readonly NetFeature[];
  /** Calls something later. With it the device offers to hold back notifications, so that one is for many frames. */
  readonly timer?: NetTimer;
  /** Lets the driver make rules for frames: `flowFilters()`. The device is to be given to `administer`. */
  readonly flowFilters?: (pairs: number, ipsec: boolean) => FrameFilter;
  /** Lets the driver have packets encrypted and decrypted: `ipsec()`. It needs flow filters, which say which are decrypted. */
  readonly ipsec?: () => FrameSecurity;
  /** RSS contexts that the driver can have, 1 to 65535; 16 unless told. */
  readonly rssContexts?: number;
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
}
