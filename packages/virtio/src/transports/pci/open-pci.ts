import type { PciAccess } from './access.ts';
import { hasVirtioCapabilities } from './capabilities.ts';
import { PciTransport } from './driver.ts';
import type { PciTransportOptions } from './function-driver.ts';
import { type LegacyPciOptions, LegacyPciTransport } from './legacy-driver.ts';

/** How a transitional driver wants its PCI function. */
export interface OpenPciOptions extends PciTransportOptions, Pick<LegacyPciOptions, 'endian'> {
  /** The interface of a transitional device to use: the modern one unless told. */
  readonly prefer?: 'modern' | 'legacy';
}

/**
 * Opens a PCI function as transitional drivers do: by its virtio capabilities, or, where there are none, by the legacy
 * interface.
 *
 * @example
 * const disk = await openBlk(await openPci(access));
 *
 * @throws {UsageError} BAD_ARGUMENT when the function is no virtio device, or no interrupt can be had.
 * @throws {PeerError} LAYOUT_INVALID when it has neither interface as it should be.
 */
export async function openPci(
  access: PciAccess,
  options: OpenPciOptions = {},
): Promise<PciTransport | LegacyPciTransport> {
  const isModern = options.prefer !== 'legacy' && (await hasVirtioCapabilities(access));
  return isModern ? await PciTransport.open(access, options) : await LegacyPciTransport.open(access, options);
}
