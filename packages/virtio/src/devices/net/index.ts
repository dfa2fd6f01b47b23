export { macAddress, macText } from '../../link/mac.ts';
export type { NetTimer } from './coalescing.ts';
export type { RxCounters, TxCounters } from './counters.ts';
export { NetDevice, netDevice } from './device.ts';
export { driverFeatures, OpenNet, type OpenNetOptions, openNet, type ReceivedFrame } from './driver.ts';
export {
  type CoalescingSettings,
  type FrameQueue,
  queueCoalescing,
  setCoalescing,
  setQueueCoalescing,
} from './driver-coalescing.ts';
export { type GuestOffload, NetCommands, type ReceiveMode } from './driver-control.ts';
export { type FlowRule, type OpenFlowFilters, openFlowFilters } from './driver-flow-filter.ts';
export {
  type AlgorithmKey,
  type AssociationOptions,
  type InboundOptions,
  type InboundSecurity,
  type OpenIpsec,
  type OutboundOptions,
  type OutboundSecurity,
  openIpsec,
  type TunnelOptions,
} from './driver-ipsec.ts';
export {
  type Hashes,
  type OpenRssContexts,
  openRssContexts,
  type Rss,
  setHashes,
  setHashTunnels,
  setRss,
} from './driver-rss.ts';
export { type Counters, type NetStatistics, readStatistics } from './driver-statistics.ts';
export { type FlowFilterLimits, flowFilters } from './flow-filter.ts';
export { type IpsecOptions, ipsec } from './ipsec.ts';
export { netMessages } from './messages.ts';
export type { NetOptions } from './options.ts';
export * from './spec.ts';
export * from './spec-control.ts';
export * from './spec-flow-filter.ts';
export * from './spec-flow-kinds.ts';
export type { FrameSealing } from './spec-frame-sealing.ts';
export * from './spec-hash.ts';
export * from './spec-header.ts';
export * from './spec-ipsec.ts';
export * from './spec-ipsec-kinds.ts';
export * from './spec-parts.ts';
export * from './spec-stats.ts';
