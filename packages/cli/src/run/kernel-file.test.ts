import { describe, expect, it } from 'vitest';
import { kernelKind } from './kernel-file.ts';

const bytes = (parts: Readonly<Record<number, string | readonly number[]>>, length = 1024): Buffer => {
  const file = Buffer.alloc(length);
  for (const [at, part] of Object.entries(parts))
    file.set(typeof part === 'string' ? Buffer.from(part, 'latin1') : part, Number(at));
  return file;
};

const elf = (machine: number, type = 2, more: Readonly<Record<number, readonly number[]>> = {}): Buffer =>
  bytes({ 0: '\x7fELF\x02\x01', 16: [type, 0, machine, 0], ...more });

/** One program header at 64: a segment that is loaded at this address. */
const loadedAt = (address: bigint): Readonly<Record<number, readonly number[]>> => {
  const place = Buffer.alloc(8);
  place.writeBigUInt64LE(address);
  return { 32: [64], 54: [56, 0, 1, 0], 64: [1], 80: [...place] };
};

describe('what was given as a kernel', () => {
  it.each([
    ['a bzImage for i386', bytes({ 514: 'HdrS', 518: [0x0f, 2] })],
    ['a bzImage for x86-64', bytes({ 514: 'HdrS', 518: [0x0f, 2], 566: [1] })],
    // Before version 2.12 these bytes meant something else.
    ['a bzImage for i386', bytes({ 514: 'HdrS', 518: [0x0a, 2], 566: [1] })],
    ['a program for x86-64 (ELF)', elf(62, 2, loadedAt(0x6000_0000n))],
    ['a program for x86-64 (ELF)', elf(62, 3)],
    ['a program for 64-bit Arm (ELF)', elf(183)],
    ['an object file for x86-64 (ELF)', elf(62, 1)],
    [
      'the bare kernel of a build for x86-64, before it is packed (vmlinux)',
      elf(62, 2, loadedAt(0xffff_ffff_8100_0000n)),
    ],
    ['a program for a big-endian machine (ELF)', bytes({ 0: '\x7fELF\x02\x02' })],
    ['an Image for 64-bit Arm', bytes({ 56: 'ARMd' })],
    ['an Image for RISC-V', bytes({ 56: 'RSC\x05' })],
    ['a file compressed by gzip', bytes({ 0: '\x1f\x8b' })],
    ['a file compressed by zstd', bytes({ 0: '\x28\xb5\x2f\xfd' })],
    ['an empty file', Buffer.alloc(0)],
    ['no kernel that is known here', Buffer.from('#!/bin/sh\n')],
    ['no kernel that is known here', Buffer.from('\x7fELF')],
  ])('is %s', (words, file) => {
    expect(kernelKind(file).words).toBe(words);
  });

  it('takes no table of program headers for true that is not in the file', () => {
    expect(kernelKind(elf(62, 2, { 32: [255, 255, 255, 255], 54: [0, 0, 255, 255] })).kind).toBe('program');
  });
});
