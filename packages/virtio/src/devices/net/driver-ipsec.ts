import type { OpenAdmin, ResourceHandle } from '../../driver/admin/index.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { aeadAlgorithm, cipherAlgorithm, macAlgorithm } from '../../ipsec/algorithms.ts';
import { type EspShape, espOverhead } from '../../ipsec/association.ts';
import { espLengths } from '../../ipsec/transform.ts';
import { networkOffset, PacketHeaders } from '../../link/headers.ts';
import type { Fields, StructValue } from '../../spec/layout.ts';
import type { FrameSealing } from './spec-frame-sealing.ts';
import {
  type IpsecAssociationValue,
  type IpsecModeCapability,
  ipsecDirection,
  ipsecMode,
  ipsecOption,
  ipsecTunnel4,
  ipsecTunnel6,
  ipsecTunnelType,
  virtio_crypto_ipsec_mode_cap,
  type virtio_crypto_ipsec_resource_cap,
} from './spec-ipsec.ts';
import {
  ipsecAssociationCapability,
  ipsecInboundKind,
  ipsecOutboundKind,
  ipsecResourceCapability,
} from './spec-ipsec-kinds.ts';

/** Modes that a device shows at most: there are four. */
const mostModes = 8;

/** An algorithm, and its key. */
export interface AlgorithmKey {
  readonly algorithm: number;
  readonly key: Uint8Array;
}

/** What associations have in both directions. */
export interface AssociationOptions {
  readonly mode: 'tunnel' | 'transport';
  /** What its packets are told by: not 0. */
  readonly spi: number;
  /** One of `aeadAlgorithm`; or a cipher and a code. */
  readonly aead?: AlgorithmKey;
  /** One of `cipherAlgorithm`; no encryption where there is a code alone. */
  readonly cipher?: AlgorithmKey;
  /** One of `macAlgorithm`. */
  readonly mac?: AlgorithmKey;
  /** What AEADs, CTR and GMAC need beside the key: 4 bytes, of which CCM uses 3. */
  readonly salt?: Uint8Array;
  /** Sequence numbers of 64 bits. */
  readonly extended?: boolean;
  /** The ports of ESP in UDP; of packets that come the destination counts. */
  readonly udp?: { readonly source: number; readonly destination: number };
  /** Congestion is told through the tunnel. */
  readonly ecn?: boolean;
  /** Packets and bytes after which it is to be renewed, and after which it is no good; 0 is no limit. */
  readonly lifetime?: Partial<IpsecAssociationValue['life']>;
  /** The driver's own. */
  readonly objectId?: number;
}

/** The header that a tunnel puts around packets. */
export interface TunnelOptions {
  /** 4 bytes for IPv4, 16 for IPv6; in network order. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Time to live or hop limit; 64 unless told. */
  readonly hops?: number;
  readonly dscp?: number;
  readonly dontFragment?: boolean;
  readonly flowLabel?: number;
}

export interface OutboundOptions extends AssociationOptions {
  /** For tunnel mode. */
  readonly tunnel?: TunnelOptions;
  /** From the packet into the outer header. */
  readonly copyDscp?: boolean;
  readonly copyDontFragment?: boolean;
  /** The packet has gone through one router more. */
  readonly decrementHops?: boolean;
}

export interface InboundOptions extends AssociationOptions {
  /** Sequence numbers that may come in any order; 64 unless told. 0 refuses none that came before. */
  readonly replayWindow?: number;
}

/** An association with which packets are encrypted: `OpenNet.send` takes it. */
export class OutboundSecurity implements FrameSealing {
  readonly #handle: ResourceHandle<Fields>;
  readonly #shape: EspShape;
  readonly #headers = new PacketHeaders();

  /** @internal Use {@link OpenIpsec.createOutbound}. */
  constructor(handle: ResourceHandle<Fields>, shape: EspShape) {
    this.#handle = handle;
    this.#shape = shape;
  }

  get id(): number {
    return this.#handle.id;
  }

  /** @spec 5.1.9.7.5 driver: Device Types / Network Device / Device Operation / IPsec Operation */
  gain(frame: Uint8Array, length: number): number | undefined {
    const headers = this.#headers;
    const networkAt = networkOffset(frame);
    if (networkAt < 0 || !headers.read(frame, networkAt)) return undefined;
    const { version, transportAt, fragmentHeaderAt } = headers;
    const isTunnel = this.#shape.mode === 'tunnel';
    if (!isTunnel && headers.fragment) return undefined;
    const from = isTunnel ? networkAt : version === 4 ? transportAt : fragmentHeaderAt;
    return espOverhead(this.#shape, Math.max(0, length - from));
  }

  /** Nothing may be on its way that needs it. */
  destroy(): Promise<void> {
    return this.#handle.destroy();
  }
}

/** An association with which packets are decrypted. */
export interface InboundSecurity {
  readonly id: number;
  /** Packets that are on their way may come as they are. */
  destroy(): Promise<void>;
}

/** IPsec of an open network device: associations by which it encrypts and decrypts. */
export class OpenIpsec {
  readonly limits: StructValue<(typeof virtio_crypto_ipsec_resource_cap)['codecs']>;
  /** What there is in each mode. */
  readonly modes: readonly IpsecModeCapability[];
  readonly #admin: OpenAdmin;
  /** Of the inbound associations that there are. */
  readonly #spis = new Set<number>();

  /** @internal Use {@link openIpsec}. */
  constructor(admin: OpenAdmin, limits: OpenIpsec['limits'], modes: readonly IpsecModeCapability[]) {
    this.#admin = admin;
    this.limits = limits;
    this.modes = modes;
  }

  /**
   * Makes an association with which packets are encrypted. The same key never serves twice: sequence numbers begin anew.
   *
   * @throws {UsageError} BAD_ARGUMENT for what the device does not have, or cannot be.
   * @throws {AdminError} when the device refuses it.
   * @spec 5.1.9.7.5 driver: Device Types / Network Device / Device Operation / IPsec Operation
   */
  async createOutbound(options: OutboundOptions): Promise<OutboundSecurity> {
    const { tunnel, mode } = options;
    if ((tunnel !== undefined) !== (mode === 'tunnel'))
      throw bad('tunnel mode has a tunnel, and no other has');
    const value: Partial<IpsecAssociationValue> = {
      ...this.#valueOf(options, ipsecDirection.OUTBOUND, {
        [ipsecOption.COPY_DSCP]: options.copyDscp,
        [ipsecOption.COPY_DF]: options.copyDontFragment,
        [ipsecOption.DEC_TTL]: options.decrementHops,
      }),
      ...(tunnel && { param: tunnelParam(tunnel) }),
    };
    const lengths = espLengths({ cipher: Number(value.cipher_algo), mac: Number(value.auth_algo) });
    if (lengths === undefined) throw bad('these algorithms do not go together');
    const handle = await this.#admin.createObject(ipsecOutboundKind, { value });
    const outerVersion = tunnel?.source.length === 16 ? 6 : 4;
    return new OutboundSecurity(handle, { mode, lengths, udp: options.udp !== undefined, outerVersion });
  }

  /**
   * Makes an association with which packets are decrypted, of those that a flow filter hands to IPsec.
   *
   * @throws {UsageError} BAD_ARGUMENT for what the device does not have, or an SPI that another one has.
   * @throws {AdminError} when the device refuses it.
   * @spec 5.1.9.7.5 driver: Device Types / Network Device / Device Operation / IPsec Operation
   */
  async createInbound(options: InboundOptions): Promise<InboundSecurity> {
    const { spi, replayWindow = 64 } = options;
    if (this.#spis.has(spi)) throw bad(`there is an inbound association with the SPI ${spi}`);
    const value = {
      ...this.#valueOf(options, ipsecDirection.INBOUND, {}),
      replay_win_sz: replayWindow,
    };
    const most = this.#modeOf(options.mode).max_replay_win_sz;
    if (!(replayWindow >= 0 && replayWindow <= most)) throw bad(`windows are of ${most} at most`);
    this.#spis.add(spi);
    try {
      const handle = await this.#admin.createObject(ipsecInboundKind, { value });
      return {
        id: handle.id,
        destroy: async () => {
          await handle.destroy();
          this.#spis.delete(spi);
        },
      };
    } catch (error) {
      this.#spis.delete(spi);
      throw error;
    }
  }

  #modeOf(mode: 'tunnel' | 'transport'): IpsecModeCapability {
    const number = mode === 'tunnel' ? ipsecMode.ESP_TUNNEL : ipsecMode.ESP_TRANSPORT;
    const found = this.modes.find((one) => one.mode === number);
    if (found === undefined) throw bad(`the device has no ESP in ${mode} mode`);
    return found;
  }

  #valueOf(
    given: AssociationOptions,
    direction: number,
    more: Readonly<Record<number, boolean | undefined>>,
  ): Partial<IpsecAssociationValue> {
    const { aead, cipher, mac, salt, udp, lifetime, spi } = given;
    const mode = this.#modeOf(given.mode);
    if (!(Number.isInteger(spi) && spi > 0 && spi <= 0xffff_ffff)) throw bad('an SPI is 1 to 2^32 − 1');
    if ((aead === undefined) === (mac === undefined)) throw bad('an association has an AEAD or a code');
    if (aead !== undefined && cipher !== undefined) throw bad('an AEAD needs no cipher');
    const encrypts = aead ?? cipher ?? { algorithm: cipherAlgorithm.NO_CIPHER, key: none };
    const signs = mac ?? { algorithm: macAlgorithm.NO_MAC, key: none };
    const isThere =
      aead === undefined
        ? isIn(mode.cipher_algo, encrypts.algorithm) && isIn(mode.hmac_algo, signs.algorithm)
        : isIn(BigInt(mode.aead_algo), encrypts.algorithm);
    if (!isThere) throw bad('the device does not have these algorithms');
    if (encrypts.key.length > mode.max_cipher_key_len || signs.key.length > mode.max_auth_key_len) {
      throw bad('a key is longer than the device takes');
    }
    if (needsSalt(aead?.algorithm, encrypts.algorithm, signs.algorithm) && salt === undefined) {
      throw bad('these algorithms need a salt');
    }
    const options = optionsOf({
      ...more,
      [ipsecOption.ESN]: given.extended,
      [ipsecOption.UDP_ENCAP]: udp !== undefined,
      [ipsecOption.ECN]: given.ecn,
      [ipsecOption.SA_LIFETIME]: lifetime !== undefined,
    });
    if ((options & ~mode.options) !== 0) throw bad('the device does not have all of these options');
    return {
      mode: mode.mode,
      direction,
      spi,
      options: BigInt(options),
      obj_id: given.objectId ?? 0,
      salt: salt ?? none,
      udp_sport: udp?.source ?? 0,
      udp_dport: udp?.destination ?? 0,
      cipher_algo: BigInt(encrypts.algorithm),
      cipher_key: { length: encrypts.key.length, reserved1: 0, data: encrypts.key },
      auth_algo: BigInt(signs.algorithm),
      auth_key: { length: signs.key.length, reserved2: 0, data: signs.key },
      life: { ...noLimits, ...lifetime },
    };
  }
}

/**
 * Opens IPsec of a network device that has it: takes all that it can.
 *
 * @example
 * const card = await openNet(transport, { features: [...driverFeatures, 'IPSEC'], reserved });
 * const associations = await openIpsec(await openAdmin(card.device));
 *
 * @throws {UsageError} NOT_NEGOTIATED when the device has none.
 * @throws {PeerError} BAD_RESPONSE when it shows modes that are none.
 * @spec 5.1.9.7.5 driver: Device Types / Network Device / Device Operation / IPsec Operation
 */
export async function openIpsec(admin: OpenAdmin): Promise<OpenIpsec> {
  const { capabilities } = admin;
  const ids = await capabilities.ids();
  if (!ids.includes(ipsecResourceCapability.id) || !ids.includes(ipsecAssociationCapability.id)) {
    throw new UsageError('NOT_NEGOTIATED', 'the network device has no IPsec');
  }
  const limits = await capabilities.get(ipsecResourceCapability);
  const shown = await capabilities.get(
    ipsecAssociationCapability,
    mostModes * virtio_crypto_ipsec_mode_cap.size,
  );
  const modes = shown.cap_mode.slice(0, shown.count).filter(({ mode }) => known.includes(mode));
  if (shown.count > shown.cap_mode.length || new Set(modes.map(({ mode }) => mode)).size < modes.length) {
    throw new PeerError('BAD_RESPONSE', 'the network device shows modes of IPsec that are none');
  }
  await capabilities.set(ipsecResourceCapability, limits);
  await capabilities.set(ipsecAssociationCapability, { count: modes.length, cap_mode: modes });
  return new OpenIpsec(admin, limits, modes);
}

/** Modes of which this driver makes associations. */
const known: readonly number[] = [ipsecMode.ESP_TUNNEL, ipsecMode.ESP_TRANSPORT];

const none = new Uint8Array(0);

const noLimits = {
  packets_soft_limit: 0n,
  bytes_soft_limit: 0n,
  packets_hard_limit: 0n,
  bytes_hard_limit: 0n,
} as const;

const isIn = (mask: bigint, algorithm: number): boolean => ((mask >> BigInt(algorithm)) & 1n) !== 0n;

function needsSalt(aead: number | undefined, cipher: number, mac: number): boolean {
  if (aead !== undefined) return aead !== aeadAlgorithm.NO_AEAD;
  return cipher === cipherAlgorithm.AES_CTR || mac === macAlgorithm.GMAC_AES;
}

const optionsOf = (options: Readonly<Record<number, boolean | undefined>>): number =>
  Object.entries(options).reduce((bits, [bit, on]) => (on === true ? bits | Number(bit) : bits), 0);

function tunnelParam(tunnel: TunnelOptions): IpsecAssociationValue['param'] {
  const { source, destination, hops = 64, dscp = 0, dontFragment = false, flowLabel = 0 } = tunnel;
  const isV6 = source.length === 16;
  if ((source.length !== 4 && !isV6) || destination.length !== source.length) {
    throw bad('the ends of a tunnel have addresses of 4 bytes, or of 16');
  }
  if (!(hops >= 1 && hops <= 255 && dscp >= 0 && dscp <= 63))
    throw bad('a tunnel has 1 to 255 hops, and a DSCP of 6 bits');
  if (!(flowLabel >= 0 && flowLabel <= 0xf_ffff)) throw bad('a flow label has 20 bits');
  const header = isV6
    ? ipsecTunnel6.encode({ src_addr: source, dst_addr: destination, flabel: flowLabel, hlimit: hops, dscp })
    : ipsecTunnel4.encode({ src_ip: source, dst_ip: destination, dscp, df: dontFragment ? 1 : 0, ttl: hops });
  return {
    type: isV6 ? ipsecTunnelType.IPV6 : ipsecTunnelType.IPV4,
    reserved: none,
    header,
  };
}

const bad = (message: string): UsageError => new UsageError('BAD_ARGUMENT', `net: ${message}`);
