export { UserNetwork, userNetwork } from './network.ts';
export type {
  DhcpOptions,
  FlowRequest,
  Ipv4Options,
  Ipv6Options,
  NetworkLimits,
  NetworkOptions,
} from './options.ts';
export { type DropReason, dropReasons, type Statistics } from './statistics.ts';
export type { Clock } from './tcp/index.ts';
export type {
  DatagramSocket,
  DatagramUser,
  FailureReason,
  ListenOptions,
  QueryOptions,
  StreamEnd,
  StreamUser,
  Target,
  Uplink,
  UplinkListener,
} from './uplink.ts';
