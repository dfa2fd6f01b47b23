import { UsageError } from 'virtio/errors';
import { mmioWindow, windowCount } from '../buses/window-place.ts';
import {
  acpiDevice,
  integer,
  levelInterrupt,
  memory32Fixed,
  named,
  resourceTemplate,
  scope,
  string,
} from './aml.ts';
import { ssdt } from './table.ts';

/** The ACPI id of a virtio-mmio window. */
const hardwareId = 'LNRO0005';

/**
 * The ACPI table that tells a guest of the first MMIO windows: an SSDT with a device for each. Linux takes it from an
 * uncompressed cpio archive ahead of its initramfs, under `kernel/firmware/acpi/`; other firmware may hand it over itself.
 *
 * @param count how many windows, 1 to 32: those of slots 0 to `count - 1`
 * @throws {UsageError} BAD_ARGUMENT for another number.
 */
export function mmioTable(count: number): Uint8Array {
  if (!Number.isInteger(count) || count < 1 || count > windowCount) {
    throw new UsageError('BAD_ARGUMENT', `${count} is no number of MMIO windows from 1 to ${windowCount}`);
  }
  const devices = Array.from({ length: count }, (_, slot) => {
    const { address, size, irq } = mmioWindow(slot);
    return acpiDevice(
      `VM${slot.toString().padStart(2, '0')}`,
      named('_HID', string(hardwareId)),
      named('_UID', integer(slot)),
      named('_CRS', resourceTemplate(memory32Fixed(address, size), levelInterrupt(irq))),
    );
  });
  return ssdt('VIRTMMIO', [scope('_SB', ...devices)]);
}
