import type { TakenOffloads } from '../../link/offload.ts';
import type { HasNetFeature } from './spec.ts';
import { guestOffloads } from './spec-control.ts';

/** What a device takes unfinished from its driver; `anyGso` when a legacy driver negotiated GSO, which means all of it. */
export function hostOffloads(has: HasNetFeature, anyGso = false): TakenOffloads {
  const tcp4 = has('HOST_TSO4') || anyGso;
  const tcp6 = has('HOST_TSO6') || anyGso;
  return {
    checksum: has('CSUM'),
    tcp4,
    tcp6,
    ecn: has('HOST_ECN') || anyGso,
    udpFragments: has('HOST_UFO') || anyGso,
    udp4: has('HOST_USO'),
    udp6: has('HOST_USO'),
    tunnel: has('HOST_UDP_TUNNEL_GSO'),
    tunnelChecksum: has('HOST_UDP_TUNNEL_GSO_CSUM'),
  };
}

/** What a driver takes unfinished from its device, of the offloads that are on: bits as `guestOffloads` has them. */
export function takenOf(offloads: bigint): TakenOffloads {
  const has = (feature: keyof typeof guestOffloads): boolean =>
    ((offloads >> BigInt(guestOffloads[feature] ?? 0)) & 1n) !== 0n;
  const checksum = has('GUEST_CSUM');
  const tunnel = checksum && has('GUEST_UDP_TUNNEL_GSO');
  return {
    checksum,
    tcp4: checksum && has('GUEST_TSO4'),
    tcp6: checksum && has('GUEST_TSO6'),
    ecn: checksum && has('GUEST_ECN'),
    udpFragments: checksum && has('GUEST_UFO'),
    udp4: checksum && has('GUEST_USO4'),
    udp6: checksum && has('GUEST_USO6'),
    tunnel,
    tunnelChecksum: tunnel && has('GUEST_UDP_TUNNEL_GSO_CSUM'),
  };
}

/** True when some frames are larger than the link's. */
export const takesLarge = ({ tcp4, tcp6, udpFragments, udp4, udp6 }: TakenOffloads): boolean =>
  tcp4 || tcp6 || udpFragments || udp4 || udp6;
