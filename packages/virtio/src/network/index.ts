export { addressFrom } from './address.ts';
export type { Forward, ForwardOptions } from './forwards.ts';
export { type Place, type UserNetwork, userNetwork } from './network.ts';
export type {
  DhcpOptions,
  FlowRequest,
  Ipv4Options,
  Ipv6Options,
  NetworkLimits,
  NetworkOptions,
} from './options.ts';
export type { StreamService } from './services.ts';
export { type DatagramHandler, Station, type StationOptions, type StationSocket } from './station.ts';
export { type DropReason, dropReasons, type Statistics } from './statistics.ts';
export type { Clock, TcpStream } from './tcp/index.ts';
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
export { type FetchInit, type FetchOptions, fetchUplink, type ResponseLike } from './uplinks/fetch.ts';
export { type WebSocketLike, type WispOptions, wispUplink } from './uplinks/wisp.ts';
