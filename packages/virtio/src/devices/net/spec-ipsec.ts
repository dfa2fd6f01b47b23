import {
  bytes,
  le16,
  le32,
  le64,
  type Struct,
  type StructValue,
  struct,
  tail,
  u8,
} from '../../spec/layout.ts';

/** What IPsec does to packets, and how. AH is named by the specification, and not spoken here. */
export const ipsecMode = Object.freeze({
  ESP_TUNNEL: 1,
  ESP_TRANSPORT: 2,
  AH_TUNNEL: 3,
  AH_TRANSPORT: 4,
} as const);

/** Bits of `options`. */
export const ipsecOption = Object.freeze({
  /** Sequence numbers of 64 bits. */
  ESN: 1 << 0,
  UDP_ENCAP: 1 << 1,
  COPY_DSCP: 1 << 2,
  DEC_TTL: 1 << 3,
  COPY_DF: 1 << 4,
  ECN: 1 << 5,
  SA_LIFETIME: 1 << 6,
} as const);

/** Values of `direction`. */
export const ipsecDirection = Object.freeze({ OUTBOUND: 1, INBOUND: 2 } as const);

/** Values of a tunnel's `type`: the specification gives none, and the versions of IP can be nothing else. */
export const ipsecTunnelType = Object.freeze({ IPV4: 4, IPV6: 6 } as const);

const limitsFields = { inb_sa_limit: le32, outb_sa_limit: le32 } as const;

/** The capability IPSEC_RESOURCE. */
export const virtio_crypto_ipsec_resource_cap: Struct<typeof limitsFields> = struct(
  'virtio_crypto_ipsec_resource_cap',
  limitsFields,
);

const modeFields = {
  /** One of {@link ipsecMode}. */
  mode: u8,
  reserved: bytes(3),
  max_replay_win_sz: le32,
  /** Bits of {@link ipsecOption}. */
  options: le32,
  reserved1: le32,
  /** Bit n is for the cipher n of `cipherAlgorithm`. */
  cipher_algo: le64,
  /** The same, of `macAlgorithm`. */
  hmac_algo: le64,
  /** The same, of `aeadAlgorithm`. */
  aead_algo: le32,
  max_cipher_key_len: le32,
  max_auth_key_len: le32,
} as const;

/** What there is in one mode. */
export const virtio_crypto_ipsec_mode_cap: Struct<typeof modeFields> = struct(
  'virtio_crypto_ipsec_mode_cap',
  modeFields,
);

/** What there is in one mode. */
export type IpsecModeCapability = StructValue<typeof modeFields>;

const associationsFields = {
  count: u8,
  reserved: bytes(7),
  cap_mode: tail(virtio_crypto_ipsec_mode_cap),
} as const;

/** The capability IPSEC_SA. */
export const virtio_crypto_ipsec_sa_cap_data: Struct<typeof associationsFields> = struct(
  'virtio_crypto_ipsec_sa_cap_data',
  associationsFields,
);

const ipv4Fields = {
  /** In network order, as addresses are. */
  src_ip: bytes(4),
  dst_ip: bytes(4),
  dscp: u8,
  df: u8,
  ttl: u8,
  reserved1: u8,
} as const;

/** The header of a tunnel over IPv4. */
export const ipsecTunnel4: Struct<typeof ipv4Fields> = struct('ipv4', ipv4Fields);

const ipv6Fields = {
  src_addr: bytes(16),
  dst_addr: bytes(16),
  flabel: le32,
  hlimit: u8,
  dscp: u8,
  reserved2: bytes(2),
} as const;

/** The header of a tunnel over IPv6. */
export const ipsecTunnel6: Struct<typeof ipv6Fields> = struct('ipv6', ipv6Fields);

const tunnelFields = {
  /** One of {@link ipsecTunnelType}. */
  type: u8,
  reserved: bytes(3),
  /** {@link ipsecTunnel4} or {@link ipsecTunnel6}: a union. */
  header: bytes(ipsecTunnel6.size),
} as const;

/** The header that a tunnel puts around packets. */
export const virtio_crypto_ipsec_tunnel_param: Struct<typeof tunnelFields> = struct(
  'virtio_crypto_ipsec_tunnel_param',
  tunnelFields,
);

const lifetimeFields = {
  packets_soft_limit: le64,
  bytes_soft_limit: le64,
  packets_hard_limit: le64,
  bytes_hard_limit: le64,
} as const;

/** How long an association lives; 0 is no limit. */
export const virtio_crypto_ipsec_lifetime: Struct<typeof lifetimeFields> = struct(
  'virtio_crypto_ipsec_lifetime',
  lifetimeFields,
);

const cipherKeyFields = { length: le16, reserved1: le16, data: bytes(32) } as const;
const authKeyFields = { length: le16, reserved2: le16, data: bytes(32) } as const;

const associationFields = {
  /** One of {@link ipsecMode}. */
  mode: u8,
  /** One of {@link ipsecDirection}. */
  direction: u8,
  reserved: bytes(2),
  /** The driver's own: the device does not look at it. */
  obj_id: le32,
  spi: le32,
  /** Four bytes, in the order in which the cipher uses them. */
  salt: bytes(4),
  /** Bits of {@link ipsecOption}. */
  options: le64,
  param: virtio_crypto_ipsec_tunnel_param,
  udp_sport: le16,
  udp_dport: le16,
  replay_win_sz: le32,
  /** One of `cipherAlgorithm`; where `auth_algo` is NO_MAC, one of `aeadAlgorithm`. */
  cipher_algo: le64,
  cipher_key: struct('cipher_key', cipherKeyFields),
  /** One of `macAlgorithm`. */
  auth_algo: le64,
  auth_key: struct('auth_key', authKeyFields),
  life: virtio_crypto_ipsec_lifetime,
} as const;

/** A security association: an inbound or an outbound one. */
export const virtio_crypto_resource_obj_ipsec_sa_256b_key: Struct<typeof associationFields> = struct(
  'virtio_crypto_resource_obj_ipsec_sa_256b_key',
  associationFields,
);

/** The fields of a security association. */
export type IpsecAssociationValue = StructValue<typeof associationFields>;
