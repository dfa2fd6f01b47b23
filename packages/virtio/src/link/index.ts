export { type Cable, type CableCounts, type CableOptions, connect, type Watcher } from './cable.ts';
export { Capture, type CaptureOptions } from './capture.ts';
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
export { isMulticast, macAddress, macText, randomMac } from './mac.ts';
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
export { interfaceBlock, packetBlock, packetFlags, sectionBlock } from './pcapng.ts';
export { Switch, type SwitchOptions, type SwitchPort } from './switch.ts';
