export { nodeEspCrypto } from './esp-crypto.ts';
export {
  connectStream,
  listenStream,
  type StreamAddress,
  type StreamConnection,
  type StreamListening,
  type StreamOptions,
} from './stream.ts';
export { openTap, type Tap, type TapOptions } from './tap/tap.ts';
export { netTimer } from './timer.ts';
export { type NodeUplinkOptions, nodeUplink } from './uplink/uplink.ts';
