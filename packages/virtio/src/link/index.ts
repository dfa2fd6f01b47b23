export {
  foldSum,
  internetChecksum,
  internetSum,
  pseudoHeaderSum,
  transportChecksum,
  updatedChecksum,
} from './checksum.ts';
export type { Endpoint, Link } from './endpoint.ts';
export {
  finished,
  noOffloads,
  type Offload,
  type Segmentation,
  segmentation,
  type TakenOffloads,
  type TunnelOffload,
} from './offload.ts';
