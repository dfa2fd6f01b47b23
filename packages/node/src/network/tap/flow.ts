import { networkOffset, PacketHeaders } from 'virtio/link';

const headers = new PacketHeaders();

/** A number that all frames of one flow have: of its addresses, and of its ports where every packet of it has them. */
export function flowOf(frame: Uint8Array): number {
  const network = networkOffset(frame);
  if (network < 0 || !headers.read(frame, network)) return 0;
  const { version, protocol, transportAt, fragment } = headers;
  const [from, length] = version === 4 ? [12, 8] : [8, 32];
  let number = sum(frame, network + from, length, protocol);
  const hasPorts = (protocol === 6 || protocol === 17) && !fragment && transportAt + 4 <= frame.length;
  // The first fragment has ports and the others have none.
  if (hasPorts) number = sum(frame, transportAt, 4, number);
  return (number ^ (number >>> 16)) & 0xffff;
}

function sum(bytes: Uint8Array, from: number, length: number, initial: number): number {
  let number = initial;
  for (let at = from; at < from + length; at++) number = (Math.imul(number, 31) + bytes[at]!) >>> 0;
  return number;
}
