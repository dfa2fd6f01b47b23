import { open } from 'node:fs/promises';
import { usage } from '../exit-status.ts';

/** What a file that was given as a kernel is. */
export interface KernelKind {
  readonly kind: 'bzimage' | 'program' | 'other';
  readonly bits?: 32 | 64;
  /** For people, as in "… is this". */
  readonly words: string;
}

/** Where all that tells kinds apart is, in bytes. */
const lookedAt = 4096;

/**
 * Checks that a file is a kernel that the machine can start, before it runs into nothing.
 *
 * @param wanted what it is to be, for people
 * @throws {CommandError} that says what it is instead.
 */
export async function checkKernel(
  path: string,
  wanted: string,
  fits: (kind: KernelKind) => boolean,
): Promise<void> {
  const kind = kernelKind(await firstBytes(path));
  if (fits(kind)) return;
  throw usage(`--kernel ${path} is ${kind.words}; give ${wanted}`);
}

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(lookedAt), 0, lookedAt, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** What the first bytes of a file say of it. */
export function kernelKind(bytes: Buffer): KernelKind {
  if (bytes.length === 0) return other('an empty file');
  if (bytes.length > 0x238 && textAt(bytes, 0x202, 4) === 'HdrS') return bzImage(bytes);
  if (textAt(bytes, 0, 4) === '\x7fELF' && bytes.length >= 64) return elf(bytes);
  if (textAt(bytes, 0x38, 4) === 'ARM\x64') return other('an Image for 64-bit Arm');
  if (textAt(bytes, 0x38, 4) === 'RSC\x05') return other('an Image for RISC-V');
  const [packer] = packers.find(([, magic]) => textAt(bytes, 0, magic.length) === magic) ?? [];
  if (packer !== undefined) return other(`a file compressed by ${packer}`);
  return other('no kernel that is known here');
}

const other = (words: string): KernelKind => ({ kind: 'other', words });

/** The bit of `xloadflags` for a kernel that is entered in 64-bit mode; there since version 2.12 of the boot protocol. */
const kernel64 = 1;

function bzImage(bytes: Buffer): KernelKind {
  const bits = bytes.readUInt16LE(0x206) >= 0x20c && (bytes.readUInt16LE(0x236) & kernel64) !== 0 ? 64 : 32;
  return { kind: 'bzimage', bits, words: `a bzImage for ${bits === 64 ? 'x86-64' : 'i386'}` };
}

const executable = 2;
const shared = 3;
const load = 1;
const machines: ReadonlyMap<number, string> = new Map([
  [3, 'i386'],
  [22, 's390x'],
  [40, 'Arm'],
  [62, 'x86-64'],
  [183, '64-bit Arm'],
  [243, 'RISC-V'],
]);

/** A program, or the kernel of a bare machine that is one by its form alone: its addresses are none of a program's. */
function elf(bytes: Buffer): KernelKind {
  const bits = bytes[4] === 2 ? 64 : 32;
  if (bytes[5] !== 1) return other('a program for a big-endian machine (ELF)');
  const machine = bytes.readUInt16LE(18);
  const name = machines.get(machine) ?? `machine ${machine}`;
  const type = bytes.readUInt16LE(16);
  if (type !== executable && type !== shared) return other(`an object file for ${name} (ELF)`);
  if (isBare(bytes, bits))
    return other(`the bare kernel of a build for ${name}, before it is packed (vmlinux)`);
  const words = `a program for ${name} (ELF)`;
  return machine === 62 ? { kind: 'program', bits: 64, words } : other(words);
}

function isBare(bytes: Buffer, bits: 32 | 64): boolean {
  if (bits !== 64) return false;
  const at = Number(bytes.readBigUInt64LE(32));
  const [size, count] = [bytes.readUInt16LE(54), bytes.readUInt16LE(56)];
  for (let i = 0; i < count && at + i * size + 24 <= bytes.length; i++) {
    const header = at + i * size;
    if (bytes.readUInt32LE(header) === load && bytes.readBigUInt64LE(header + 16) >> 47n !== 0n) return true;
  }
  return false;
}

const packers = [
  ['gzip', '\x1f\x8b'],
  ['xz', '\xfd7zXZ'],
  ['zstd', '\x28\xb5\x2f\xfd'],
  ['bzip2', 'BZh'],
  ['lz4', '\x02\x21\x4c\x18'],
] as const;

const textAt = (bytes: Buffer, at: number, length: number): string =>
  bytes.toString('latin1', at, at + length);
