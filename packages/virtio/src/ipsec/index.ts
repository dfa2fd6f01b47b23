export * from './algorithms.ts';
export { type EspAssociation, type EspShape, espOverhead, type TunnelHeader } from './association.ts';
export { chacha20Poly1305 } from './chacha20-poly1305.ts';
export type { AeadKey, CipherKey, EspAead, EspCipher, EspCrypto, EspMac, MacKey } from './crypto.ts';
export { EspInbound, type InboundState, OpeningRoom } from './inbound.ts';
export { type LifetimeLimits, unlimited } from './lifetime.ts';
export { EspOutbound, type OutboundState } from './outbound.ts';
export { EspPacket } from './packet.ts';
export { type EspKeys, type EspLengths, type EspTransform, espLengths, espTransform } from './transform.ts';
