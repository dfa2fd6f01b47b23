import { PeerError, UsageError } from '../../errors.ts';
import type { MmioAccess } from './access.ts';
import { RegisterAccess } from './register-access.ts';
import { magicValue, mmioRegisters, mmioVersion } from './registers.ts';

/** What stands behind a window. */
export interface MmioIdentity {
  /** 1 is the legacy interface, 2 the present one; other numbers are not known. */
  readonly version: number;
  /** The virtio device id (chapter 5). */
  readonly deviceId: number;
}

/**
 * Looks what stands behind a window: `undefined` when it is no virtio device, or a place that none was put in. No
 * other register is touched, and nobody told.
 *
 * @spec 4.2.3.1.1 driver: Virtio Transport Options / Virtio Over MMIO / MMIO-specific Initialization And Device Operation / Device Initialization
 */
export async function identifyMmio(access: MmioAccess): Promise<MmioIdentity | undefined> {
  const registers = new RegisterAccess(access, mmioRegisters.register);
  if ((await registers.read('MagicValue')) !== magicValue) return undefined;
  const version = await registers.read('Version');
  if (version !== mmioVersion.LEGACY && version !== mmioVersion.MODERN) return { version, deviceId: 0 };
  const deviceId = await registers.read('DeviceID');
  return deviceId === 0 ? undefined : { version, deviceId };
}

/**
 * Looks for a device that the program says is there.
 *
 * @throws {UsageError} BAD_ARGUMENT when it is not.
 * @throws {PeerError} LAYOUT_INVALID when its version is not one that is known.
 */
export async function expectMmio(access: MmioAccess): Promise<MmioIdentity> {
  const identity = await identifyMmio(access);
  if (identity === undefined) {
    throw new UsageError(
      'BAD_ARGUMENT',
      'no virtio device is behind this MMIO window; identifyMmio tells before a driver is opened',
    );
  }
  const { version } = identity;
  if (version !== mmioVersion.LEGACY && version !== mmioVersion.MODERN) {
    throw new PeerError('LAYOUT_INVALID', `the MMIO device is of version ${version}; 1 and 2 are known`);
  }
  return identity;
}
