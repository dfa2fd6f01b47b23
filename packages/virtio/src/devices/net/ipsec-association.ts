import { invalidField } from '../../device/admin/refusal.ts';
import { aeadAlgorithm, cipherAlgorithm, macAlgorithm } from '../../ipsec/algorithms.ts';
import type { EspAssociation, TunnelHeader } from '../../ipsec/association.ts';
import type { EspCrypto } from '../../ipsec/crypto.ts';
import { unlimited } from '../../ipsec/lifetime.ts';
import { espTransform } from '../../ipsec/transform.ts';
import {
  type IpsecAssociationValue,
  type IpsecModeCapability,
  ipsecDirection,
  ipsecMode,
  ipsecOption,
  ipsecTunnel4,
  ipsecTunnel6,
  ipsecTunnelType,
} from './spec-ipsec.ts';

/** Bytes that a key has room for. */
const keyRoom = 32;

const { ESN, UDP_ENCAP, COPY_DSCP, DEC_TTL, COPY_DF, ECN, SA_LIFETIME } = ipsecOption;
const always = ESN | UDP_ENCAP | SA_LIFETIME;

/** What a device with these algorithms shows of its modes. */
export function modesOf(crypto: EspCrypto, replayWindow: number): IpsecModeCapability[] {
  const { aeads = [], macs = [], random } = crypto;
  const ciphers = (crypto.ciphers ?? []).filter(
    ({ algorithm }) => random !== undefined || algorithm !== cipherAlgorithm.AES_CBC,
  );
  const gcm = aeads.filter(({ algorithm }) => algorithm === aeadAlgorithm.GCM);
  const codes = [...macs, ...gcm.map(({ keyLengths }) => ({ algorithm: macAlgorithm.GMAC_AES, keyLengths }))];
  const plain = codes.length > 0 ? [{ algorithm: cipherAlgorithm.NO_CIPHER, keyLengths: [] }] : [];
  const shared = {
    reserved: new Uint8Array(3),
    max_replay_win_sz: replayWindow,
    reserved1: 0,
    cipher_algo: bits(macs.length > 0 ? [...plain, ...ciphers] : plain),
    hmac_algo: bits(codes),
    aead_algo: Number(bits(aeads)),
    max_cipher_key_len: longest([...aeads, ...ciphers]),
    max_auth_key_len: longest(codes),
  };
  return [
    { ...shared, mode: ipsecMode.ESP_TUNNEL, options: always | COPY_DSCP | DEC_TTL | COPY_DF | ECN },
    { ...shared, mode: ipsecMode.ESP_TRANSPORT, options: always },
  ];
}

const bits = (all: readonly { readonly algorithm: number }[]): bigint =>
  all.reduce((mask, { algorithm }) => mask | (1n << BigInt(algorithm)), 0n);

const longest = (all: readonly { readonly keyLengths: readonly number[] }[]): number =>
  all
    .flatMap(({ keyLengths }) => keyLengths)
    .reduce((most, length) => Math.max(most, Math.min(length, keyRoom)), 0);

/**
 * What is wrong with an association, as in "an association …", given what the driver uses of the modes.
 *
 * @spec 5.1.9.7.4 device: Device Types / Network Device / Device Operation / IPsec Operation
 */
export function associationMistake(
  value: IpsecAssociationValue,
  direction: number,
  modes: readonly IpsecModeCapability[],
): string | undefined {
  const found = modes.find(({ mode }) => mode === value.mode);
  if (found === undefined) return `has mode ${value.mode}, which the driver does not use`;
  if (value.direction !== direction) return `has direction ${value.direction}, which is not that of its type`;
  if (value.spi === 0) return 'has the SPI 0, which no packet has';
  if ((value.options & ~BigInt(found.options)) !== 0n) return 'has options that the driver does not use';
  const isOutbound = direction === ipsecDirection.OUTBOUND;
  if (!isOutbound && value.replay_win_sz > found.max_replay_win_sz) {
    return `has a window of ${value.replay_win_sz}, where ${found.max_replay_win_sz} is the most`;
  }
  if ((value.options & BigInt(UDP_ENCAP)) !== 0n) {
    const isTold = value.udp_dport !== 0 && (!isOutbound || value.udp_sport !== 0);
    if (!isTold) return 'is encapsulated in UDP without ports';
  }
  return (
    algorithmMistake(value, found) ??
    (isOutbound && value.mode === ipsecMode.ESP_TUNNEL ? tunnelMistake(value) : undefined)
  );
}

function algorithmMistake(
  { cipher_algo, cipher_key, auth_algo, auth_key }: IpsecAssociationValue,
  mode: IpsecModeCapability,
): string | undefined {
  const isAead = auth_algo === BigInt(macAlgorithm.NO_MAC);
  const isThere = isAead
    ? isIn(BigInt(mode.aead_algo), cipher_algo)
    : isIn(mode.cipher_algo, cipher_algo) && isIn(mode.hmac_algo, auth_algo);
  if (!isThere) return `has the algorithms ${cipher_algo} and ${auth_algo}, which the driver does not use`;
  if (cipher_key.length > Math.min(keyRoom, mode.max_cipher_key_len)) return 'has too long a cipher key';
  return auth_key.length > Math.min(keyRoom, mode.max_auth_key_len)
    ? 'has too long an authentication key'
    : undefined;
}

const isIn = (mask: bigint, algorithm: bigint): boolean =>
  algorithm < 64n && ((mask >> algorithm) & 1n) !== 0n;

function tunnelMistake(value: IpsecAssociationValue): string | undefined {
  const { type } = value.param;
  if (type !== ipsecTunnelType.IPV4 && type !== ipsecTunnelType.IPV6) {
    return `has a tunnel of type ${type}, where the versions of IP are 4 and 6`;
  }
  const { dscp, hops, flowLabel } = tunnelOf(value);
  if (dscp > 63 || flowLabel > 0xf_ffff)
    return 'has a DSCP of more than 6 bits, or a flow label of more than 20';
  return hops === 0 ? 'has a tunnel through which nothing comes, with a time to live of 0' : undefined;
}

function tunnelOf({ param }: IpsecAssociationValue): TunnelHeader {
  const view = new DataView(param.header.buffer, param.header.byteOffset, param.header.length);
  if (param.type === ipsecTunnelType.IPV6) {
    const { src_addr, dst_addr, dscp, hlimit, flabel } = ipsecTunnel6.read(view);
    return {
      version: 6,
      source: src_addr,
      destination: dst_addr,
      dscp,
      dontFragment: false,
      hops: hlimit,
      flowLabel: flabel,
    };
  }
  const { src_ip, dst_ip, dscp, df, ttl } = ipsecTunnel4.read(view);
  return {
    version: 4,
    source: src_ip,
    destination: dst_ip,
    dscp,
    dontFragment: df !== 0,
    hops: ttl,
    flowLabel: 0,
  };
}

/**
 * An association as ESP has it; of one without a mistake.
 *
 * @throws {AdminRefusal} EINVAL for algorithms that do not go together, or keys of another length than theirs.
 */
export function associationOf(
  value: IpsecAssociationValue,
  direction: number,
  crypto: EspCrypto,
): EspAssociation {
  const has = (option: number): boolean => (value.options & BigInt(option)) !== 0n;
  const { cipher_key, auth_key, life } = value;
  const transform = espTransform(
    {
      cipher: Number(value.cipher_algo),
      cipherKey: cipher_key.data.subarray(0, cipher_key.length),
      mac: Number(value.auth_algo),
      macKey: auth_key.data.subarray(0, auth_key.length),
      salt: value.salt,
      extended: has(ESN),
    },
    crypto,
  );
  if (transform === undefined) {
    throw invalidField('an association has algorithms that do not go together, or keys that are not theirs');
  }
  const isTunnel = value.mode === ipsecMode.ESP_TUNNEL;
  return {
    spi: value.spi,
    mode: isTunnel ? 'tunnel' : 'transport',
    transform,
    extended: has(ESN),
    udp: has(UDP_ENCAP) ? { source: value.udp_sport, destination: value.udp_dport } : undefined,
    tunnel: isTunnel && direction === ipsecDirection.OUTBOUND ? tunnelOf(value) : undefined,
    copyDscp: has(COPY_DSCP),
    decrementHops: has(DEC_TTL),
    copyDontFragment: has(COPY_DF),
    ecn: has(ECN),
    replayWindow: value.replay_win_sz,
    lifetime: has(SA_LIFETIME)
      ? {
          packetsSoft: count(life.packets_soft_limit),
          bytesSoft: count(life.bytes_soft_limit),
          packetsHard: count(life.packets_hard_limit),
          bytesHard: count(life.bytes_hard_limit),
        }
      : unlimited,
  };
}

/** More than can be counted is as good as no limit. */
const count = (limit: bigint): number => (limit > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(limit));
