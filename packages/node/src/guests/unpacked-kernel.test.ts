import { expect, test } from 'vitest';
import { bzImagePayload, unpackedBzImage } from './unpacked-kernel.ts';

const setupSize = 3 * 512;

function bzImage(payload: Uint8Array): Buffer {
  const image = Buffer.concat([Buffer.alloc(setupSize, 0xcc), Buffer.from('unpacker'), payload]);
  image[0x1f1] = 2;
  image.write('HdrS', 0x202);
  image.writeUInt16LE(0x20f, 0x206);
  image.writeUInt32LE('unpacker'.length, 0x248);
  image.writeUInt32LE(payload.length, 0x24c);
  return image;
}

/** An ELF file for i386 with one loadable segment, entered at its start. */
function elf(physical: number, content: Uint8Array): Buffer {
  const headers = Buffer.alloc(52 + 32);
  headers.writeUInt32BE(0x7f454c46, 0);
  headers[4] = 1;
  headers.writeUInt32LE(physical, 24); // e_entry
  headers.writeUInt32LE(52, 28); // e_phoff
  headers.writeUInt16LE(32, 42); // e_phentsize
  headers.writeUInt16LE(1, 44); // e_phnum
  headers.writeUInt32LE(1, 52); // PT_LOAD
  headers.writeUInt32LE(84, 56); // p_offset
  headers.writeUInt32LE(physical, 64); // p_paddr
  headers.writeUInt32LE(content.length, 68); // p_filesz
  return Buffer.concat([headers, content]);
}

test('the payload is found where the header says', () => {
  expect(Buffer.from(bzImagePayload(bzImage(Buffer.from('packed')))).toString()).toBe('packed');
});

test('the kernel lies at the distance of its address, behind a jump to it', () => {
  const packed = bzImage(Buffer.from('packed'));
  const image = Buffer.from(unpackedBzImage(packed, elf(0x101000, Buffer.from('kernel'))));
  expect(image.subarray(setupSize + 0x1000).toString()).toBe('kernel');
  expect(image[setupSize]).toBe(0xe9);
  expect(0x100000 + 5 + image.readInt32LE(setupSize + 1)).toBe(0x101000);
  expect(image.readUInt32LE(0x1f4) * 16).toBeGreaterThanOrEqual(image.length - setupSize);
  expect(image.subarray(0x200, 0x210)).toEqual(packed.subarray(0x200, 0x210));
  expect(packed.includes('packed')).toBe(true);
});

test.each([
  ['no bzImage', () => bzImagePayload(Buffer.alloc(4096))],
  ['cut short', () => bzImagePayload(bzImage(Buffer.from('packed')).subarray(0, -1))],
  ['no ELF', () => unpackedBzImage(bzImage(Buffer.from('p')), Buffer.alloc(100))],
  ['segment too low', () => unpackedBzImage(bzImage(Buffer.from('p')), elf(0x1000, Buffer.from('k')))],
  [
    'segment cut',
    () => unpackedBzImage(bzImage(Buffer.from('p')), elf(0x101000, Buffer.from('k')).subarray(0, -1)),
  ],
])('a kernel with a fault is refused: %s', (_fault, make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'BAD_IMAGE' }));
});
