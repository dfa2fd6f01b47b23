export { type Cable, type CableCounts, type CableOptions, connect, type Watcher } from './cable.ts';
export {
  foldSum,
  internetChecksum,
  internetSum,
  pseudoHeaderSum,
  transportChecksum,
  updatedChecksum,
} from './checksum.ts';
export type { Endpoint, Link } from './endpoint.ts';
export { networkOffset, PacketHeaders } from './headers.ts';
export {
  allOffloads,
  checked,
  copyOffload,
  finished,
  noOffloads,
  type Offload,
  type Segmentation,
  segmentation,
  type TakenOffloads,
  type TunnelOffload,
} from './offload.ts';
