import type { Endian } from '../spec/guest-endian.ts';

/** The byte order of this machine, which all numbers of vhost-user have. */
export const machineEndian: Endian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 'little' : 'big';
