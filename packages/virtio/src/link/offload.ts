/** Into what a frame larger than its link's may be cut: the values of `gso_type`, so that nobody translates. */
export const segmentation = Object.freeze({
  NONE: 0,
  /** TCP over IPv4. */
  TCP4: 1,
  /** UDP by fragments of IP. */
  UDP_FRAGMENTS: 3,
  /** TCP over IPv6. */
  TCP6: 4,
  /** UDP datagrams, each with a header of its own. */
  UDP: 5,
} as const);

/** Any of {@link segmentation}. */
export type Segmentation = (typeof segmentation)[keyof typeof segmentation];

/**
 * What is left to do to a frame before a wire could carry it. One object may serve many frames: whoever keeps it longer than
 * a call keeps a copy.
 */
export interface Offload {
  /**
   * A checksum is to be completed: over what lies between `checksumStart` and the frame's end, put at `checksumStart +
   * checksumOffset`, where the sum of the pseudo header is now.
   */
  readonly needsChecksum: boolean;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  /** The transport's checksum was checked, or need not be: the frame never left this machine. */
  readonly checksumValid: boolean;
  readonly segmentation: Segmentation;
  /** Bytes of payload in each segment; 0 without segmentation. */
  readonly segmentSize: number;
  /** Bytes of headers that each segment repeats; 0 when the sender does not know. */
  readonly headerLength: number;
  /** TCP's congestion window was reduced (CWR): the first segment alone says so. */
  readonly ecn: boolean;
  /** Set when what is to be cut travels in a UDP tunnel. */
  readonly tunnel: TunnelOffload | undefined;
}

/** Of a frame that carries another one in UDP. */
export interface TunnelOffload {
  /** The outer network header is of IPv6. */
  readonly ipv6: boolean;
  /** The outer UDP checksum is to be completed as well. */
  readonly outerChecksum: boolean;
  /** Bytes from the frame's start. */
  readonly outerTransportOffset: number;
  readonly innerNetworkOffset: number;
}

/** Nothing is left to do. */
export const finished: Offload = Object.freeze({
  needsChecksum: false,
  checksumStart: 0,
  checksumOffset: 0,
  checksumValid: false,
  segmentation: segmentation.NONE,
  segmentSize: 0,
  headerLength: 0,
  ecn: false,
  tunnel: undefined,
});

/** Nothing is left to do, and the checksum is right: we computed it. */
export const checked: Offload = Object.freeze({ ...finished, checksumValid: true });

/** A copy of an offload, to be kept longer than a call. */
export function copyOffload(offload: Offload): Offload {
  if (Object.isFrozen(offload)) return offload;
  const { tunnel } = offload;
  return { ...offload, tunnel: tunnel && { ...tunnel } };
}

/** Which frames somebody takes unfinished. */
export interface TakenOffloads {
  readonly checksum: boolean;
  readonly tcp4: boolean;
  readonly tcp6: boolean;
  readonly ecn: boolean;
  readonly udpFragments: boolean;
  /** UDP datagrams over IPv4. */
  readonly udp4: boolean;
  /** UDP datagrams over IPv6. */
  readonly udp6: boolean;
  readonly tunnel: boolean;
  readonly tunnelChecksum: boolean;
}

/** Takes finished frames alone. */
export const noOffloads: TakenOffloads = Object.freeze({
  checksum: false,
  tcp4: false,
  tcp6: false,
  ecn: false,
  udpFragments: false,
  udp4: false,
  udp6: false,
  tunnel: false,
  tunnelChecksum: false,
});

/** Takes whatever there is: who only hands frames on. */
export const allOffloads: TakenOffloads = Object.freeze({
  checksum: true,
  tcp4: true,
  tcp6: true,
  ecn: true,
  udpFragments: true,
  udp4: true,
  udp6: true,
  tunnel: true,
  tunnelChecksum: true,
});
