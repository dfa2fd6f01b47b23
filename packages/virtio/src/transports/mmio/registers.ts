import { type Register, type RegisterAccess, RegisterBlock } from '../../spec/registers.ts';

/** What MagicValue reads: "virt", little-endian. */
export const magicValue = 0x7472_6976;

/** What Version reads. */
export const mmioVersion = Object.freeze({ LEGACY: 1, MODERN: 2 } as const);

/** Bits of InterruptStatus and InterruptACK. */
export const interruptBit = Object.freeze({ QUEUE: 1, CONFIG: 2 } as const);

/** Bytes from the window's start to the device's own configuration. */
export const configOffset = 0x100;

/** @internal A control register: all of them are 32 bits wide. */
export function control<const N extends string>(
  name: N,
  offset: number,
  access: RegisterAccess,
): Register<N> {
  return { name, offset, width: 4, access };
}

/** @internal The registers that both versions have, by the same name and at the same place. */
export const sharedRegisters = [
  control('MagicValue', 0x000, 'read-only'),
  control('Version', 0x004, 'read-only'),
  control('DeviceID', 0x008, 'read-only'),
  control('VendorID', 0x00c, 'read-only'),
  control('QueueSel', 0x030, 'write-only'),
  control('QueueSizeMax', 0x034, 'read-only'),
  control('QueueSize', 0x038, 'write-only'),
  control('QueueNotify', 0x050, 'write-only'),
  control('InterruptStatus', 0x060, 'read-only'),
  control('InterruptACK', 0x064, 'write-only'),
  control('Status', 0x070, 'read-write'),
] as const;

/** @internal The registers that only version 1 has, beside those that it calls otherwise. */
export const legacyOnlyRegisters = [
  control('GuestPageSize', 0x028, 'write-only'),
  control('QueueAlign', 0x03c, 'write-only'),
  control('QueuePFN', 0x040, 'read-write'),
] as const;

/** A register that both versions have. */
export type SharedRegister = (typeof sharedRegisters)[number]['name'];

const modern = [
  control('DeviceFeatures', 0x010, 'read-only'),
  control('DeviceFeaturesSel', 0x014, 'write-only'),
  control('DriverFeatures', 0x020, 'write-only'),
  control('DriverFeaturesSel', 0x024, 'write-only'),
  control('QueueReady', 0x044, 'read-write'),
  control('QueueDescLow', 0x080, 'write-only'),
  control('QueueDescHigh', 0x084, 'write-only'),
  control('QueueDriverLow', 0x090, 'write-only'),
  control('QueueDriverHigh', 0x094, 'write-only'),
  control('QueueDeviceLow', 0x0a0, 'write-only'),
  control('QueueDeviceHigh', 0x0a4, 'write-only'),
  control('SHMSel', 0x0ac, 'write-only'),
  control('SHMLenLow', 0x0b0, 'read-only'),
  control('SHMLenHigh', 0x0b4, 'read-only'),
  control('SHMBaseLow', 0x0b8, 'read-only'),
  control('SHMBaseHigh', 0x0bc, 'read-only'),
  control('QueueReset', 0x0c0, 'read-write'),
  control('ConfigGeneration', 0x0fc, 'read-only'),
] as const;

/** A control register of version 2. */
export type MmioRegister = SharedRegister | (typeof modern)[number]['name'];

/** The control registers of version 2 (4.2.2). */
export const mmioRegisters: RegisterBlock<MmioRegister> = /* @__PURE__ */ new RegisterBlock<MmioRegister>(
  'mmio',
  [...sharedRegisters, ...modern],
);
