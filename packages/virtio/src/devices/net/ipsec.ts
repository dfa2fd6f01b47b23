import { capability } from '../../device/admin/capabilities.ts';
import { AdminRefusal, busy, invalidField } from '../../device/admin/refusal.ts';
import type {
  DeviceResources,
  ResourceObject,
  ResourceObjectType,
} from '../../device/admin/resource-object.ts';
import type { Json } from '../../device/json.ts';
import { UsageError } from '../../errors.ts';
import type { EspCrypto } from '../../ipsec/crypto.ts';
import { EspInbound, OpeningRoom } from '../../ipsec/inbound.ts';
import { EspOutbound } from '../../ipsec/outbound.ts';
import { EspPacket } from '../../ipsec/packet.ts';
import { finished, type Offload, segmentation } from '../../link/offload.ts';
import { associationMistake, associationOf, modesOf } from './ipsec-association.ts';
import { readAssociationStates, type SavedAssociation, writeAssociationStates } from './ipsec-state.ts';
import { Sealer } from './sealer.ts';
import type { FrameSealer, FrameSecurity, SecuredFrame } from './security.ts';
import { largestFrame } from './spec.ts';
import { netResource } from './spec-flow-filter.ts';
import { headerFlag } from './spec-header.ts';
import {
  type IpsecAssociationValue,
  type IpsecModeCapability,
  ipsecDirection,
  virtio_crypto_ipsec_sa_cap_data,
} from './spec-ipsec.ts';
import {
  ipsecAssociationCapability,
  ipsecInboundKind,
  ipsecOutboundKind,
  ipsecResourceCapability,
} from './spec-ipsec-kinds.ts';

/** How a device has IPsec. */
export interface IpsecOptions {
  /** Algorithms that the device can use: what its driver is offered follows from them. */
  readonly crypto: EspCrypto;
  /** Associations that a driver may have in each direction; 64 unless told. */
  readonly outbound?: number;
  readonly inbound?: number;
  /** Sequence numbers that may come in any order, at most; 4096 unless told. */
  readonly replayWindow?: number;
}

type Fields = (typeof ipsecOutboundKind)['layout']['codecs'];

interface Outbound {
  readonly value: IpsecAssociationValue;
  readonly esp: EspOutbound;
}

interface Inbound {
  readonly id: number;
  readonly value: IpsecAssociationValue;
  readonly esp: EspInbound;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const { SECURITY, SECURITY_ERR, SECURITY_SA_SOFT_EXPIRY_WARN } = headerFlag;

/**
 * ESP in a network device: security associations, which the driver makes through the administration queue, and what they do to
 * frames.
 *
 * @spec 5.1.9.7.4 device: Device Types / Network Device / Device Operation / IPsec Operation
 */
export class Ipsec implements FrameSecurity {
  readonly resources: DeviceResources;
  readonly #crypto: EspCrypto;
  readonly #outbound = new Map<number, Outbound>();
  readonly #inbound = new Map<number, Inbound>();
  /** By SPI. */
  readonly #bySpi = new Map<number, Inbound>();
  /** What the driver uses of the capabilities; absent until it says so. */
  #modes: readonly IpsecModeCapability[] | undefined;
  #limited = false;
  readonly #packet = new EspPacket();
  readonly #room = new OpeningRoom(largestFrame);
  /** What it was opened with last. */
  #opener: EspInbound | undefined;
  readonly #secured: Writable<SecuredFrame> = {
    frame: new Uint8Array(0),
    offload: finished,
    flags: 0,
    resource: 0,
    resourceType: 0,
  };
  /** Of associations that another device had, until they are made here. */
  #saved: Map<string, SavedAssociation> = new Map();

  constructor({ crypto, outbound = 64, inbound = 64, replayWindow = 4096 }: IpsecOptions) {
    this.#crypto = crypto;
    const modes = modesOf(crypto, replayWindow);
    this.resources = {
      capabilities: [
        capability(ipsecResourceCapability, { inb_sa_limit: inbound, outb_sa_limit: outbound }, (wanted) => {
          this.#limited = wanted !== undefined;
        }),
        capability(ipsecAssociationCapability, { count: modes.length, cap_mode: modes }, (wanted) => {
          if (wanted !== undefined && this.#outbound.size + this.#inbound.size > 0) {
            throw busy('there are security associations');
          }
          this.#modes = wanted && usedModes(new DataView(wanted.buffer));
        }),
      ],
      objects: [this.#outboundType(), this.#inboundType()],
    };
  }

  sealer(): FrameSealer {
    return new Sealer((resource, resourceType) => {
      // The driver need not say the type: there is but one that it may be.
      const isOne = resourceType === 0 || resourceType === netResource.IPSEC_OUTB_SA;
      return isOne ? this.#outbound.get(resource)?.esp : undefined;
    });
  }

  /** @spec 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets */
  open(frame: Uint8Array, offload: Offload): SecuredFrame {
    const secured = this.#secured;
    const packet = this.#packet;
    const isWhole = offload.segmentation === segmentation.NONE && packet.read(frame);
    const found = isWhole ? this.#bySpi.get(packet.spi) : undefined;
    this.#opener = undefined;
    secured.frame = frame;
    secured.offload = offload;
    secured.flags = SECURITY | SECURITY_ERR;
    secured.resource = found?.id ?? 0;
    secured.resourceType = found === undefined ? 0 : netResource.IPSEC_INB_SA;
    if (found === undefined) return secured;
    if (found.esp.open(frame, packet, this.#room)) {
      this.#opener = found.esp;
      secured.frame = found.esp.frame;
      secured.offload = finished;
      secured.flags = SECURITY;
    }
    if (found.esp.softExpired) secured.flags |= SECURITY_SA_SOFT_EXPIRY_WARN;
    return secured;
  }

  taken(): void {
    this.#opener?.taken();
    this.#opener = undefined;
  }

  save(): Json {
    return writeAssociationStates([
      ...[...this.#outbound].map(([id, { esp }]) => ({
        key: keyOf(netResource.IPSEC_OUTB_SA, id),
        outbound: esp.state,
      })),
      ...[...this.#inbound].map(([id, { esp }]) => ({
        key: keyOf(netResource.IPSEC_INB_SA, id),
        inbound: esp.state,
      })),
    ]);
  }

  /** @throws {UsageError} BAD_STATE for what `save` never gives. */
  restore(state: Json): void {
    this.#saved = new Map(readAssociationStates(state).map((one) => [one.key, one]));
    for (const [id, { esp }] of this.#outbound) this.#goOn(netResource.IPSEC_OUTB_SA, id, esp);
    for (const [id, { esp }] of this.#inbound) this.#goOn(netResource.IPSEC_INB_SA, id, esp);
  }

  /** An association goes on where the one of another device was: with one key no sequence number is used twice. */
  #goOn(type: number, id: number, esp: EspOutbound | EspInbound): void {
    const key = keyOf(type, id);
    const saved = this.#saved.get(key);
    if (saved === undefined) return;
    if (esp instanceof EspOutbound && saved.outbound !== undefined) esp.restore(saved.outbound);
    if (esp instanceof EspInbound && saved.inbound !== undefined) esp.restore(saved.inbound);
    this.#saved.delete(key);
  }

  /** @throws {AdminRefusal} EINVAL, INVALID_OPCODE until the driver has set both capabilities. */
  readonly #permit = (): void => {
    if (this.#modes === undefined || !this.#limited) {
      throw new AdminRefusal(
        'EINVAL',
        'INVALID_OPCODE',
        'the driver has not enabled both capabilities of IPsec',
      );
    }
  };

  #outboundType(): ResourceObjectType<Fields> {
    return {
      ...ipsecOutboundKind,
      permit: this.#permit,
      apply: ({ id, value }, before) => {
        const esp = new EspOutbound(this.#associationOf(value, ipsecDirection.OUTBOUND));
        const old = this.#outbound.get(id);
        // With the key that it had, it has used numbers already.
        if (before !== undefined && old !== undefined && isSameKey(value, before.value))
          esp.restore(old.esp.state);
        this.#goOn(netResource.IPSEC_OUTB_SA, id, esp);
        this.#outbound.set(id, { value, esp });
      },
      destroyed: ({ id }) => void this.#outbound.delete(id),
    };
  }

  #inboundType(): ResourceObjectType<Fields> {
    return {
      ...ipsecInboundKind,
      permit: this.#permit,
      apply: ({ id, value }, before) => {
        const association = this.#associationOf(value, ipsecDirection.INBOUND);
        const other = this.#bySpi.get(value.spi);
        if (other !== undefined && other.id !== id) {
          throw invalidField(`inbound association ${other.id} has the SPI ${value.spi}`);
        }
        const esp = new EspInbound(association);
        const old = this.#inbound.get(id);
        if (before !== undefined && old !== undefined && isSameKey(value, before.value))
          esp.restore(old.esp.state);
        this.#goOn(netResource.IPSEC_INB_SA, id, esp);
        this.#forget(id);
        const made = { id, value, esp };
        this.#inbound.set(id, made);
        this.#bySpi.set(value.spi, made);
      },
      destroyed: ({ id }: ResourceObject<Fields>) => this.#forget(id),
    };
  }

  #forget(id: number): void {
    const gone = this.#inbound.get(id);
    if (gone === undefined) return;
    this.#inbound.delete(id);
    this.#bySpi.delete(gone.value.spi);
  }

  /** @throws {AdminRefusal} EINVAL for what cannot be, or the driver does not use. */
  #associationOf(value: IpsecAssociationValue, direction: number): ReturnType<typeof associationOf> {
    const mistake = associationMistake(value, direction, this.#modes ?? []);
    if (mistake !== undefined) throw invalidField(`an association ${mistake}`);
    return associationOf(value, direction, this.#crypto);
  }
}

/**
 * Lends IPsec to a device, for its option of that name: whoever has none carries no code of it. The device has flow filters as
 * well, which say which frames are decrypted, and is to be given to `administer`.
 *
 * @example
 * administer(netDevice({ flowFilters: flowFilters(), ipsec: ipsec({ crypto }) }), { groups: [] });
 *
 * @throws {UsageError} BAD_ARGUMENT for limits that cannot be, or algorithms that ESP has no use for.
 */
export function ipsec(options: IpsecOptions): () => FrameSecurity {
  const { outbound = 0, inbound = 0, replayWindow = 0, crypto } = options;
  for (const [name, value, most] of [
    ['outbound', outbound, 0xffff_ffff],
    ['inbound', inbound, 0xffff_ffff],
    ['replayWindow', replayWindow, 2 ** 20],
  ] as const) {
    if (!Number.isInteger(value) || value < 0 || value > most) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `net: IPsec's ${name} is ${value}; it must be between 0 and ${most}`,
      );
    }
  }
  const [mode] = modesOf(crypto, replayWindow);
  if (mode === undefined || (mode.aead_algo === 0 && mode.hmac_algo === 0n)) {
    throw new UsageError('BAD_ARGUMENT', 'net: IPsec needs an AEAD, or a message authentication code');
  }
  return () => new Ipsec(options);
}

/** Of the modes in a capability, those that are there. */
function usedModes(wanted: DataView): IpsecModeCapability[] {
  const { count, cap_mode } = virtio_crypto_ipsec_sa_cap_data.read(wanted);
  return cap_mode.slice(0, count).filter(({ mode }) => mode !== 0);
}

const keyOf = (type: number, id: number): string => `${type}:${id}`;

function isSameKey(one: IpsecAssociationValue, other: IpsecAssociationValue): boolean {
  const of = (value: IpsecAssociationValue): string =>
    JSON.stringify([
      String(value.cipher_algo),
      String(value.auth_algo),
      [...value.salt],
      [...value.cipher_key.data.subarray(0, value.cipher_key.length)],
      [...value.auth_key.data.subarray(0, value.auth_key.length)],
    ]);
  return of(one) === of(other);
}
