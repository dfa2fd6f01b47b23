export type { Clock } from './clock.ts';
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
