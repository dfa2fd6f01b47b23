import type { AddedCapability } from './capability-room.ts';
import { capabilityId } from './pci-registers.ts';
import { refuse, within } from './refuse.ts';
import { cfgType, virtio_pci_vndr_data, virtioVendorId } from './registers.ts';

/**
 * A vendor data capability for a function's `capabilities`. `vendorId` is PCI-SIG's id of the vendor whose format
 * this is, never 0x1AF4; `data` follows it, padded to make the capability a multiple of 4 bytes.
 *
 * @throws {UsageError} BAD_ARGUMENT
 * @spec 4.1.4.8.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Vendor data capability
 */
export function vendorData(vendorId: number, data: Uint8Array): AddedCapability {
  within('the vendor id of a capability', vendorId, 0, 0xffff);
  if (vendorId === virtioVendorId) refuse('a vendor data capability may not have the vendor id of virtio');
  const length = Math.ceil((virtio_pci_vndr_data.size + data.length) / 4) * 4;
  const body = new Uint8Array(length);
  body.set(
    virtio_pci_vndr_data.encode({
      cap_vndr: capabilityId.VENDOR,
      cap_len: length,
      cfg_type: cfgType.VENDOR_CFG,
      vendor_id: vendorId,
    }),
  );
  body.set(data, virtio_pci_vndr_data.size);
  return {
    add({ config }) {
      config.addCapability(virtio_pci_vndr_data, body);
    },
  };
}
