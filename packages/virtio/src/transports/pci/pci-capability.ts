import type { AddedCapability } from './capability-room.ts';
import { pci_cap } from './pci-registers.ts';
import { refuse, within } from './refuse.ts';

/**
 * A PCI capability that is not virtio's, for a function's `capabilities`: its id, what follows the id and the next
 * pointer, and which bits of that the guest may write; none unless told.
 *
 * @throws {UsageError} BAD_ARGUMENT
 */
export function pciCapability(
  id: number,
  data: Uint8Array,
  writable: Uint8Array = new Uint8Array(),
): AddedCapability {
  within('the id of a capability', id, 0, 0xff);
  if (data.length > 190) refuse(`a capability of ${data.length} bytes`);
  return {
    add({ config }) {
      config.addCapability(pci_cap, Uint8Array.of(id, 0, ...data), Uint8Array.of(0, 0, ...writable));
    },
  };
}
