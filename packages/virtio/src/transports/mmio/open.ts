import type { MmioAccess } from './access.ts';
import { MmioTransport } from './driver.ts';
import { expectMmio } from './identify.ts';
import { type LegacyMmioDriverOptions, LegacyMmioTransport } from './legacy-driver.ts';
import { mmioVersion } from './registers.ts';

/**
 * The driver's end of an MMIO device of either version. The device itself is not touched. `endian` matters for
 * version 1 alone.
 *
 * @throws {UsageError} BAD_ARGUMENT when no virtio device is there.
 * @throws {PeerError} LAYOUT_INVALID when its version is not one that is known.
 */
export async function openMmio(
  access: MmioAccess,
  options: LegacyMmioDriverOptions = {},
): Promise<MmioTransport | LegacyMmioTransport> {
  const { version, deviceId } = await expectMmio(access);
  return version === mmioVersion.LEGACY
    ? new LegacyMmioTransport(access, deviceId, options)
    : new MmioTransport(access, deviceId, options);
}
