import { readLittle } from '../../device/little-endian.ts';
import { magicValue, mmioVersion } from './registers.ts';

const bytes = new Uint8Array(0x10);
const view = new DataView(bytes.buffer);
view.setUint32(0, magicValue, true);
view.setUint32(4, mmioVersion.MODERN, true);

/**
 * A place that no device was put in, for hosts whose windows stand at addresses that the guest knows: DeviceID reads 0,
 * and drivers go on to the next.
 */
export const emptyMmio = Object.freeze({
  /** Bytes of the window. */
  size: 0x200,
  read: (offset: number, width: number): number => readLittle(bytes, offset, Math.min(width, 4)),
  write: (_offset: number, _width: number, _value: number): void => {},
});
