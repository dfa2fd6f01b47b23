import { HostError } from 'virtio/errors';
import { dataView } from 'virtio/spec';

const protectedModeBase = 0x100000;
const elfHeader = { magic: 0x464c457f, entry: 24, programs: 28, programSize: 42, programCount: 44 } as const;
const programHeader = { type: 0, offset: 4, physical: 12, fileSize: 16 } as const;
const loadable = 1;

/** The compressed kernel inside a bzImage, as the boot protocol's header (2.08 and later) tells where it is. */
export function bzImagePayload(bzimage: Uint8Array): Uint8Array {
  const view = dataView(bzimage);
  if (
    bzimage.length < 0x260 ||
    view.getUint32(0x202, true) !== 0x53726448 ||
    view.getUint16(0x206, true) < 0x208
  ) {
    throw new HostError('BAD_IMAGE', 'the kernel is no bzImage of boot protocol 2.08 or later');
  }
  const start = setupSize(bzimage) + view.getUint32(0x248, true);
  const end = start + view.getUint32(0x24c, true);
  if (end > bzimage.length) throw new HostError('BAD_IMAGE', 'the kernel image ends before its payload does');
  return bzimage.subarray(start, end);
}

/**
 * Makes a bzImage that holds the kernel as it lies in memory, so that no emulated processor has to unpack it.
 * The real-mode part stays as it was; behind it, where the unpacker was, stands a jump to the kernel's entry,
 * and then the kernel at the distance that puts it at its own physical address.
 *
 * @param bzimage the kernel as its package ships it
 * @param vmlinux what was packed in it: an ELF file for i386
 * @throws HostError `BAD_IMAGE` if either is not what it should be.
 */
export function unpackedBzImage(bzimage: Uint8Array, vmlinux: Uint8Array): Uint8Array {
  const elf = dataView(vmlinux);
  if (vmlinux.length < 52 || elf.getUint32(0, true) !== elfHeader.magic || elf.getUint8(4) !== 1) {
    throw new HostError('BAD_IMAGE', 'the kernel packed in the bzImage is no 32-bit ELF file');
  }
  const segments = loadSegments(vmlinux, elf);
  const end = Math.max(...segments.map(({ physical, data }) => physical + data.length));
  const setup = setupSize(bzimage);
  const image = new Uint8Array(setup + end - protectedModeBase);
  image.set(bzimage.subarray(0, setup));
  for (const { physical, data } of segments) image.set(data, setup + physical - protectedModeBase);

  const view = dataView(image);
  const jump = 0xe9;
  const jumpSize = 5;
  view.setUint8(setup, jump);
  view.setUint32(setup + 1, elf.getUint32(elfHeader.entry, true) - protectedModeBase - jumpSize, true);
  view.setUint32(0x1f4, (image.length - setup + 15) >> 4, true); // syssize, in paragraphs
  view.setUint32(0x248, 0, true); // no payload
  view.setUint32(0x24c, 0, true);
  return image;
}

interface Segment {
  readonly physical: number;
  readonly data: Uint8Array;
}

function loadSegments(vmlinux: Uint8Array, elf: DataView): Segment[] {
  const segments: Segment[] = [];
  const size = elf.getUint16(elfHeader.programSize, true);
  for (let index = 0; index < elf.getUint16(elfHeader.programCount, true); index++) {
    const header = elf.getUint32(elfHeader.programs, true) + index * size;
    if (elf.getUint32(header + programHeader.type, true) !== loadable) continue;
    const offset = elf.getUint32(header + programHeader.offset, true);
    const length = elf.getUint32(header + programHeader.fileSize, true);
    const physical = elf.getUint32(header + programHeader.physical, true);
    if (physical <= protectedModeBase || offset + length > vmlinux.length) {
      throw new HostError('BAD_IMAGE', 'the kernel packed in the bzImage has a segment out of bounds');
    }
    segments.push({ physical, data: vmlinux.subarray(offset, offset + length) });
  }
  if (segments.length === 0) throw new HostError('BAD_IMAGE', 'the kernel packed in the bzImage is empty');
  return segments;
}

/** Bytes of boot sector and real-mode code in front of the protected-mode part. */
function setupSize(bzimage: Uint8Array): number {
  return ((bzimage[0x1f1] || 4) + 1) * 512;
}
