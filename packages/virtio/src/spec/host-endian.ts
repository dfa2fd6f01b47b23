import type { Endian } from './guest-endian.ts';

/** The byte order of the machine that runs us. */
export const hostEndian: Endian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 'little' : 'big';
