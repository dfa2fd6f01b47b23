import { webcrypto } from 'node:crypto';
import { entropyDevice } from 'virtio/devices/entropy';
import { type MakeDevice, nothing } from '../ready-device.ts';

export const make: MakeDevice = async ({ reserved }) => {
  const source = (target: Uint8Array<ArrayBuffer>): unknown => webcrypto.getRandomValues(target);
  return { device: entropyDevice({ source, reserved }), close: nothing };
};
