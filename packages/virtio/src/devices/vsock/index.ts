export { VsockDevice, type VsockOptions, vsockDevice } from './device.ts';
export { OpenVsock, type OpenVsockOptions, openVsock } from './driver.ts';
export { vsockMessages } from './messages.ts';
export {
  hostCid,
  seqFlag,
  shutdownFlag,
  socketType,
  virtio_vsock_config,
  virtio_vsock_event,
  virtio_vsock_hdr,
  vsock,
  vsockEvent,
  vsockOp,
} from './spec.ts';
export type { VsockListener, VsockRequest, VsockSource } from './spec-endpoint.ts';
export type { SeqpacketHandler, StreamHandler } from './spec-sockets.ts';
export { type ReceivedMessage, VsockSeqpacket, VsockSocket, VsockStream } from './spec-stream.ts';
export { VsockSwitch } from './switch.ts';
