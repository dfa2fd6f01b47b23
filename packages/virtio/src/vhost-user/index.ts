export { type BackEndHost, VhostUserBackend, type VhostUserBackendOptions } from './backend.ts';
export * from './frontend.ts';
export { probeVhostUser, type VhostUserProbe } from './frontend-probe.ts';
export type { AnswerLimit } from './frontend-requests.ts';
export {
  type FrontEndHost,
  FrontEndSession,
  type SessionListener,
  type SessionOptions,
} from './frontend-session.ts';
export { FrontEndWindow } from './frontend-windows.ts';
export { LentWindow, type WindowMapping } from './lent-window.ts';
export { type MessageListener, MessageStream, ReceivedMessage } from './message-stream.ts';
export * from './messages.ts';
export * from './payloads.ts';
export * from './protocol.ts';
export { VhostUserServer, type VhostUserServerOptions } from './server.ts';
