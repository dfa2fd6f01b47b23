import { type NetDevice, type NetFeature, type NetOptions, net, netDevice } from 'virtio/devices/net';
import { netTimer } from 'virtio-node/network';
import type { NetPlan } from './plan.ts';

/** What a network device may do without. */
export interface NetLimits extends Pick<NetOptions, 'queuePairs' | 'queueSize' | 'reserved'> {
  /** Checksums and segments may be left to it, and to its driver; they may unless told. */
  readonly offloads?: boolean;
  /** A received frame may lie in several buffers; it may unless told. */
  readonly mergeable?: boolean;
}

/** The network device that a plan is for, with all that it can offer within these limits. */
export function makeNetDevice({ mac, mtu }: NetPlan, limits: NetLimits = {}): NetDevice {
  const { offloads = true, mergeable = true, ...rest } = limits;
  return netDevice({
    ...rest,
    timer: netTimer,
    without: net.ownFeatures.filter(
      (feature) => (!offloads && isOffload(feature)) || (!mergeable && feature === 'MRG_RXBUF'),
    ),
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu }),
  });
}

/** Features by which work on frames is left to the other side. */
function isOffload(feature: NetFeature): boolean {
  return /CSUM|TSO|USO|UFO|ECN|GSO|OFFLOADS|HDRLEN|RSC/.test(feature);
}
