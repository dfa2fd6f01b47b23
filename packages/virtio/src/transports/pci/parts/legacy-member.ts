import type { LegacyFields, MemberLegacy } from '../../../device/admin/group.ts';
import { readLittle, writeLittle } from '../../../device/little-endian.ts';
import type { Register } from '../../../spec/registers.ts';
import type { PciFunction } from '../device.ts';
import type { LegacyRegisters } from '../legacy-device.ts';
import { type LegacyRegister, legacyRegisters } from '../legacy-registers.ts';
import {
  notifyEntries,
  notifyInfoFlag,
  ownersNotifyBar,
  virtio_pci_legacy_notify_info,
} from './legacy-notify.ts';

/**
 * The legacy interface of a virtual function, for its owner; `undefined` where it has none.
 *
 * @spec 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
 */
export function memberLegacy({ legacy, core }: PciFunction): MemberLegacy | undefined {
  // Where its own driver reaches it, it is none of the owner's.
  if (legacy === undefined || legacy.placed === legacy) return undefined;
  return {
    common: commonFields(legacy),
    config: configFields(legacy, Object.values(core.device.type.config.field)),
    notifyInfo: () => {
      const { size } = virtio_pci_legacy_notify_info;
      const result = new Uint8Array(notifyEntries * size);
      result.set(
        virtio_pci_legacy_notify_info.encode({
          flags: notifyInfoFlag.MEMBER,
          bar: ownersNotifyBar,
          offset: 0n,
        }),
      );
      return result;
    },
  };
}

function commonFields(legacy: LegacyRegisters): LegacyFields {
  /** The register that the bytes are in; the vectors are none while MSI-X is off. */
  const registerOf = (offset: number, length: number): Register<LegacyRegister> | undefined => {
    const register = offset < legacy.configOffset ? legacyRegisters.holding(offset) : undefined;
    return register !== undefined && offset + length <= register.offset + register.width
      ? register
      : undefined;
  };
  const wholeOf = ({ offset, width }: Register): Uint8Array => {
    const whole = new Uint8Array(width);
    writeLittle(whole, 0, width, legacy.read(offset, width));
    return whole;
  };
  return {
    holds: (offset, length) => registerOf(offset, length) !== undefined,
    read(offset, length) {
      const register = registerOf(offset, length);
      if (register === undefined) return new Uint8Array(length);
      return wholeOf(register).slice(offset - register.offset, offset - register.offset + length);
    },
    write(offset, bytes) {
      const register = registerOf(offset, bytes.length);
      if (register === undefined) return;
      // The rest of a field stays as it is.
      const whole = bytes.length === register.width ? new Uint8Array(register.width) : wholeOf(register);
      whole.set(bytes, offset - register.offset);
      legacy.write(register.offset, register.width, readLittle(whole, 0, register.width));
    },
  };
}

function configFields(
  legacy: LegacyRegisters,
  fields: readonly { readonly offset: number; readonly size: number }[],
): LegacyFields {
  return {
    holds: (offset, length) =>
      fields.some((field) => offset >= field.offset && offset + length <= field.offset + field.size),
    read: (offset, length) =>
      Uint8Array.from({ length }, (_, i) => legacy.read(legacy.configOffset + offset + i, 1)),
    write(offset, bytes) {
      for (let at = 0; at < bytes.length; ) {
        const left = bytes.length - at;
        const width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        legacy.write(legacy.configOffset + offset + at, width, readLittle(bytes, at, width));
        at += width;
      }
    },
  };
}
