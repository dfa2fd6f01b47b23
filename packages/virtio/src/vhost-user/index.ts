export { VhostUserBackend, type VhostUserBackendOptions } from './backend.ts';
export { type MessageListener, MessageStream, ReceivedMessage } from './message-stream.ts';
export * from './messages.ts';
export * from './payloads.ts';
export * from './protocol.ts';
