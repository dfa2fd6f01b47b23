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
