import type { DeviceCore } from '../../device/core.ts';

/**
 * The driver transmits its configuration from the start on, and does not say what of it is new: what differs, and the
 * field that the transmission ends with, since that is the one it is meant for.
 */
export function writeDeviceConfig(core: DeviceCore, given: DataView): void {
  const { config, driverWritable } = core.device.type;
  for (const name of driverWritable) {
    const field = config.field[name];
    const codec = config.codecs[name];
    if (field === undefined || codec === undefined) continue;
    const end = field.offset + field.size;
    if (end > given.byteLength) continue;
    if (end < given.byteLength && !differs(core, given, field.offset, end)) continue;
    for (const part of codec.parts()) writePart(core, given, field.offset + part.offset, part.size);
  }
}

function differs(core: DeviceCore, given: DataView, from: number, end: number): boolean {
  for (let at = from; at < end; at++) if (given.getUint8(at) !== core.readConfig(at, 1)) return true;
  return false;
}

/** One integer: a register of its width, or two halves. */
function writePart(core: DeviceCore, given: DataView, at: number, size: number): void {
  const width = Math.min(size, 4);
  for (let half = at; half < at + size; half += width) {
    const value =
      width === 4
        ? given.getUint32(half, true)
        : width === 2
          ? given.getUint16(half, true)
          : given.getUint8(half);
    core.writeConfig(half, width, value);
  }
}
