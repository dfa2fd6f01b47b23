import { UsageError } from '../errors.ts';

/** A text that is no address is our caller's mistake; one from a name server is not, so both forms exist. */
function refuse(text: string, what: string): never {
  throw new UsageError('BAD_ARGUMENT', `"${text}" is no ${what}`);
}

/** Four bytes from `10.0.2.15`; `undefined` from anything else. */
export function ipv4From(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

/** Sixteen bytes from any form that RFC 4291 has for an address; `undefined` from anything else, and from one with a zone. */
export function ipv6From(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const gap = 8 - head.length - tail.length;
  if (halves.length === 2 ? gap < 1 : gap !== 0) return undefined;
  const groups = [...head, ...new Array<number>(gap).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    const dotted = last && index === parts.length - 1 ? ipv4From(part) : undefined;
    if (dotted !== undefined) groups.push((dotted[0]! << 8) | dotted[1]!, (dotted[2]! << 8) | dotted[3]!);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

/** The bytes of an address of either kind; `undefined` when it is none. */
export function addressFrom(text: string): Uint8Array | undefined {
  return text.includes(':') ? ipv6From(text) : ipv4From(text);
}

/** @throws {UsageError} BAD_ARGUMENT */
export function parseIpv4(text: string): Uint8Array {
  return ipv4From(text) ?? refuse(text, 'address of IPv4');
}

/** @throws {UsageError} BAD_ARGUMENT */
export function parseIpv6(text: string): Uint8Array {
  return ipv6From(text) ?? refuse(text, 'address of IPv6');
}

/** `10.0.2.15`, or an address of IPv6 as RFC 5952 writes it. */
export function formatAddress(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, at) => (address[2 * at]! << 8) | address[2 * at + 1]!);
  let [start, length] = [0, 1];
  for (let at = 0; at < 8; at++) {
    let run = 0;
    while (at + run < 8 && groups[at + run] === 0) run++;
    if (run > length) [start, length] = [at, run];
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Something to find an address by in a `Map`. */
export function addressKey(address: Uint8Array): string {
  // By units of 16 bits: the shortest text that is unique.
  return address.length === 4
    ? String.fromCharCode((address[0]! << 8) | address[1]!, (address[2]! << 8) | address[3]!)
    : String.fromCharCode(
        (address[0]! << 8) | address[1]!,
        (address[2]! << 8) | address[3]!,
        (address[4]! << 8) | address[5]!,
        (address[6]! << 8) | address[7]!,
        (address[8]! << 8) | address[9]!,
        (address[10]! << 8) | address[11]!,
        (address[12]! << 8) | address[13]!,
        (address[14]! << 8) | address[15]!,
      );
}

/** Addresses that begin alike. */
export class Prefix {
  readonly address: Uint8Array;
  /** Bits that are the same. */
  readonly length: number;

  constructor(address: Uint8Array, length: number) {
    this.length = length;
    this.address = address.map((byte, at) => byte & maskByte(length, at));
  }

  /**
   * From `10.0.2.0/24` or `fec0::/64`.
   *
   * @throws {UsageError} BAD_ARGUMENT
   */
  static parse(text: string, family: 4 | 6): Prefix {
    const [, address = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
    const bytes = family === 4 ? ipv4From(address) : ipv6From(address);
    if (bytes === undefined || Number(length) > 8 * bytes.length) refuse(text, `prefix of IPv${family}`);
    return new Prefix(bytes, Number(length));
  }

  /** What the first bits of a mask are. */
  get mask(): Uint8Array {
    return this.address.map((_, at) => maskByte(this.length, at));
  }

  /** The last address in it. */
  get last(): Uint8Array {
    return this.address.map((byte, at) => byte | (~maskByte(this.length, at) & 0xff));
  }

  has(address: Uint8Array): boolean {
    if (address.length !== this.address.length) return false;
    for (let at = 0; 8 * at < this.length; at++) {
      if ((address[at]! & maskByte(this.length, at)) !== this.address[at]) return false;
    }
    return true;
  }
}

function maskByte(length: number, at: number): number {
  const bits = Math.max(0, Math.min(8, length - 8 * at));
  return (0xff00 >> bits) & 0xff;
}

const of4 = (text: string): Prefix => Prefix.parse(text, 4);
const of6 = (text: string): Prefix => Prefix.parse(text, 6);

/**
 * Addresses that mean this machine, nobody or many, and so are no place to connect to. A host that was asked to connect to
 * some of them would connect to itself, whatever it had said about its loopback.
 */
const nowhere: readonly Prefix[] = [
  of4('0.0.0.0/8'),
  of4('127.0.0.0/8'),
  of4('224.0.0.0/4'),
  of4('240.0.0.0/4'),
  of6('::/128'),
  of6('::1/128'),
  // IPv4 in other clothes: mapped, and the compatible form of old.
  of6('::/96'),
  of6('::ffff:0:0/96'),
  of6('fe80::/10'),
  of6('ff00::/8'),
];

/** True of an address outside this machine that one place has. */
export function isPlace(address: Uint8Array): boolean {
  return !nowhere.some((prefix) => prefix.has(address));
}

const loopbacks: readonly Prefix[] = [of4('127.0.0.0/8'), of6('::1/128')];

/** True of an address by which a machine reaches itself. */
export function isLoopback(address: Uint8Array): boolean {
  return loopbacks.some((prefix) => prefix.has(address));
}
