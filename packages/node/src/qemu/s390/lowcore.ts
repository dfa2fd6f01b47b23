import type { GuestMemory } from 'virtio/memory';

/** A program-status word of 16 bytes: its mask and its instruction address. */
export interface Psw {
  readonly mask: bigint;
  readonly address: bigint;
}

/** Bits of a PSW's mask. */
export const pswMask = Object.freeze({
  /** Dynamic address translation is on. */
  TRANSLATION: 1n << 58n,
  /** I/O interruptions are taken. */
  IO: 1n << 57n,
  /** Which address space is meant: all bits for the home space. */
  SPACE: 3n << 46n,
} as const);

/** Where the condition code is in a PSW's mask. */
const conditionShift = 44n;

/** A PSW with a condition code, 0 to 3, behind an instruction of 4 bytes. */
export const afterInstruction = ({ mask, address }: Psw, conditionCode: number): Psw => ({
  mask: (mask & ~(3n << conditionShift)) | (BigInt(conditionCode) << conditionShift),
  address: address + instructionLength,
});

/** Bytes of each I/O instruction, and of DIAGNOSE. */
export const instructionLength = 4n;

/** Real addresses that the architecture assigns to interruptions. */
export const assigned = Object.freeze({
  /** Instruction length and program interruption code, 4 bytes. */
  PROGRAM_CODE: 0x8c,
  /** Subsystem identification word, interruption parameter, interruption identification word. */
  IO_CODE: 0xb8,
  RESTART_OLD: 0x120,
  PROGRAM_OLD: 0x150,
  IO_OLD: 0x170,
  RESTART_NEW: 0x1a0,
  PROGRAM_NEW: 0x1d0,
  IO_NEW: 0x1f0,
} as const);

/** Bytes at the start of real storage that each processor has for itself. */
const prefixed = 0x2000n;

/** The first bytes of a processor's real storage, which lie at its prefix. */
export class Lowcore {
  readonly #memory: GuestMemory;
  readonly #prefix: number;

  constructor(memory: GuestMemory, prefix: bigint) {
    this.#memory = memory;
    this.#prefix = Number(prefix);
  }

  psw(at: number): Psw {
    const view = new DataView(this.#memory.read(this.#prefix + at, 16).buffer);
    return { mask: view.getBigUint64(0), address: view.getBigUint64(8) };
  }

  setPsw(at: number, { mask, address }: Psw): void {
    const view = new DataView(new ArrayBuffer(16));
    view.setBigUint64(0, mask);
    view.setBigUint64(8, address);
    this.#memory.write(this.#prefix + at, new Uint8Array(view.buffer));
  }

  set(at: number, bytes: Uint8Array): void {
    this.#memory.write(this.#prefix + at, bytes);
  }
}

/** The absolute address of a real one, for a processor with a prefix. */
export function absoluteAddress(real: bigint, prefix: bigint): bigint {
  if (real < prefixed) return real + prefix;
  return real >= prefix && real < prefix + prefixed ? real - prefix : real;
}
