import type { CapabilityType } from '../../spec/capability.ts';
import type { ResourceObjectKind } from '../../spec/resource-object.ts';
import { netCapability, netResource } from './spec-flow-filter.ts';
import {
  type IpsecModeCapability,
  virtio_crypto_ipsec_resource_cap,
  virtio_crypto_ipsec_sa_cap_data,
  virtio_crypto_resource_obj_ipsec_sa_256b_key,
} from './spec-ipsec.ts';

const any = (): boolean => true;

/** How many associations there may be: VIRTIO_NET_IPSEC_RESOURCE_CAP. */
export const ipsecResourceCapability: CapabilityType<(typeof virtio_crypto_ipsec_resource_cap)['codecs']> = {
  id: netCapability.IPSEC_RESOURCE,
  layout: virtio_crypto_ipsec_resource_cap,
  rules: { inb_sa_limit: 'limit', outb_sa_limit: 'limit' },
};

/** What associations there may be: VIRTIO_NET_IPSEC_SA_CAP. */
export const ipsecAssociationCapability: CapabilityType<(typeof virtio_crypto_ipsec_sa_cap_data)['codecs']> =
  {
    id: netCapability.IPSEC_SA,
    layout: virtio_crypto_ipsec_sa_cap_data,
    rules: {
      count: 'limit',
      reserved: any,
      cap_mode: (wanted, offered) =>
        wanted.every(
          (one) => one.mode === 0 || offered.some((other) => other.mode === one.mode && isWithin(one, other)),
        ),
    },
  };

/** True when all that one mode has is in the other. */
function isWithin(one: IpsecModeCapability, other: IpsecModeCapability): boolean {
  return (
    one.max_replay_win_sz <= other.max_replay_win_sz &&
    (one.options & ~other.options) === 0 &&
    (one.cipher_algo & ~other.cipher_algo) === 0n &&
    (one.hmac_algo & ~other.hmac_algo) === 0n &&
    (one.aead_algo & ~other.aead_algo) === 0 &&
    one.max_cipher_key_len <= other.max_cipher_key_len &&
    one.max_auth_key_len <= other.max_auth_key_len
  );
}

type Association = (typeof virtio_crypto_resource_obj_ipsec_sa_256b_key)['codecs'];

/** What packets are encrypted with. */
export const ipsecOutboundKind: ResourceObjectKind<Association> = {
  type: netResource.IPSEC_OUTB_SA,
  name: 'IPsec outbound association',
  layout: virtio_crypto_resource_obj_ipsec_sa_256b_key,
  capability: netCapability.IPSEC_RESOURCE,
  limit: (capability) => virtio_crypto_ipsec_resource_cap.field.outb_sa_limit.get(capability),
};

/** What packets are decrypted with. */
export const ipsecInboundKind: ResourceObjectKind<Association> = {
  type: netResource.IPSEC_INB_SA,
  name: 'IPsec inbound association',
  layout: virtio_crypto_resource_obj_ipsec_sa_256b_key,
  capability: netCapability.IPSEC_RESOURCE,
  limit: (capability) => virtio_crypto_ipsec_resource_cap.field.inb_sa_limit.get(capability),
};
