/**
 * ACPI's machine language, as far as a description of devices needs it: bytes from bytes. The names and the
 * encodings are those of "ACPI Machine Language (AML) Specification" in the ACPI specification.
 */
export type Aml = readonly number[];

const opcode = { NAME: 0x08, STRING: 0x0d, SCOPE: 0x10, BUFFER: 0x11, BYTE: 0x0a, WORD: 0x0b, DWORD: 0x0c };
const deviceOpcode = [0x5b, 0x82] as const;

/** `Scope (name) { … }` for a name below the root: what stands inside belongs to it. */
export const scope = (name: string, ...terms: readonly Aml[]): Aml => [
  opcode.SCOPE,
  ...package_([0x5c, ...nameSegment(name)], ...terms),
];

/** `Device (name) { … }`. */
export const acpiDevice = (name: string, ...terms: readonly Aml[]): Aml => [
  ...deviceOpcode,
  ...package_(nameSegment(name), ...terms),
];

/** `Name (name, value)`. */
export const named = (name: string, value: Aml): Aml => [opcode.NAME, ...nameSegment(name), ...value];

/** A string of ASCII characters. */
export const string = (text: string): Aml => [opcode.STRING, ...ascii(text), 0];

/** An integer of up to 32 bits, in its shortest form. */
export function integer(value: number): Aml {
  if (value === 0 || value === 1) return [value];
  if (value < 0x100) return [opcode.BYTE, value];
  return value < 0x1_0000 ? [opcode.WORD, ...le(value, 2)] : [opcode.DWORD, ...le(value, 4)];
}

/** `ResourceTemplate () { … }`: a buffer of resource descriptors and their end tag. */
export function resourceTemplate(...descriptors: readonly Aml[]): Aml {
  // A checksum of 0 says that there is none.
  const content = [...descriptors.flat(), 0x79, 0];
  return [opcode.BUFFER, ...package_(integer(content.length), content)];
}

/** `Memory32Fixed (ReadWrite, address, length)`. */
export const memory32Fixed = (address: number, length: number): Aml => [
  0x86,
  ...le(9, 2),
  1,
  ...le(address, 4),
  ...le(length, 4),
];

/** `Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { irq }`. */
export const levelInterrupt = (irq: number): Aml => [0x89, ...le(6, 2), 0b1001, 1, ...le(irq, 4)];

/** The ASCII codes of a text. */
export const ascii = (text: string): Aml => Array.from(text, (character) => character.charCodeAt(0) & 0x7f);

/** The bytes of a number, the lowest first. */
export const le = (value: number, bytes: number): Aml =>
  Array.from({ length: bytes }, (_, byte) => Math.floor(value / 2 ** (8 * byte)) & 0xff);

/** Four characters, filled up with underscores. */
const nameSegment = (name: string): Aml => ascii(name.padEnd(4, '_').slice(0, 4));

/** Terms behind their length, which counts its own bytes. */
function package_(...terms: readonly Aml[]): Aml {
  const content = terms.flat();
  if (content.length + 1 < 0x40) return [content.length + 1, ...content];
  let more = 1;
  while (content.length + 1 + more >= 2 ** (4 + 8 * more)) more++;
  const length = content.length + 1 + more;
  return [(more << 6) | (length & 0xf), ...le(Math.floor(length / 16), more), ...content];
}
