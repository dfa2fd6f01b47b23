import { HostError } from 'virtio/errors';
import { dataView } from 'virtio/spec';

const elf64 = { magic: 0x464c457f, programs: 32, programSize: 54, programCount: 56 } as const;
const programHeader = { type: 0, offset: 8, fileSize: 32, memorySize: 40 } as const;
const interpreter = 3;

/**
 * A copy of a program that is loaded by another dynamic linker than the system's: one that belongs to a C library beside
 * it. The path is put behind all that the file holds, and the program's header is told so; nothing else moves. A program
 * that starts itself anew, by what it was loaded from, comes by the same linker again.
 *
 * @param program an ELF file for a 64-bit processor of little endian
 * @param path of the dynamic linker, absolute
 * @throws HostError `BAD_IMAGE` if it is no such program, or is linked statically.
 */
export function withInterpreter(program: Uint8Array, path: string): Uint8Array {
  const elf = dataView(program);
  if (program.length < 64 || elf.getUint32(0, true) !== elf64.magic || elf.getUint16(4) !== 0x0201) {
    throw new HostError('BAD_IMAGE', 'this is no ELF program of 64 bits');
  }
  const text = new TextEncoder().encode(`${path}\0`);
  const copy = new Uint8Array(program.length + text.length);
  copy.set(program);
  copy.set(text, program.length);
  const header = interpreterHeader(elf);
  const view = dataView(copy);
  view.setBigUint64(header + programHeader.offset, BigInt(program.length), true);
  view.setBigUint64(header + programHeader.fileSize, BigInt(text.length), true);
  view.setBigUint64(header + programHeader.memorySize, BigInt(text.length), true);
  return copy;
}

function interpreterHeader(elf: DataView): number {
  const first = Number(elf.getBigUint64(elf64.programs, true));
  const size = elf.getUint16(elf64.programSize, true);
  for (let index = 0; index < elf.getUint16(elf64.programCount, true); index++) {
    const header = first + index * size;
    if (header + size > elf.byteLength) break;
    if (elf.getUint32(header + programHeader.type, true) === interpreter) return header;
  }
  throw new HostError('BAD_IMAGE', 'the program is loaded by no dynamic linker');
}
