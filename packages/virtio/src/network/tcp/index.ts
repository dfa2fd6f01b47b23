export type { Clock } from './clock.ts';
export type { TcpCounters } from './counters.ts';
export type {
  QuotedSegment,
  Tcp,
  TcpAddress,
  TcpHandler,
  TcpLimits,
  TcpOptions,
  TcpPacketIn,
  TcpRequest,
  TcpSegmentOut,
  TcpStream,
} from './interface.ts';
export { TcpStack } from './stack.ts';
