/**
 * A number for the flow of a frame, the same in both directions: of its addresses, and its ports where it has some. 0 for a
 * frame that is not of IP.
 */
export function flowOf(frame: Uint8Array): number {
  let network = 14;
  let type = (frame[12]! << 8) | frame[13]!;
  if (type === 0x8100 && frame.length >= 18) {
    network = 18;
    type = (frame[16]! << 8) | frame[17]!;
  }
  if (type === 0x0800 && frame.length >= network + 20) return ipv4Flow(frame, network);
  if (type === 0x86dd && frame.length >= network + 40) return ipv6Flow(frame, network);
  return 0;
}

function ipv4Flow(frame: Uint8Array, at: number): number {
  const protocol = frame[at + 9]!;
  const both = word(frame, at + 12) ^ word(frame, at + 16);
  const isFragment = (((frame[at + 6]! << 8) | frame[at + 7]!) & 0x3fff) !== 0;
  const transport = at + 4 * (frame[at]! & 0x0f);
  return mixed(both, isFragment ? 0 : portsOf(frame, protocol, transport), protocol);
}

function ipv6Flow(frame: Uint8Array, at: number): number {
  const protocol = frame[at + 6]!;
  let both = 0;
  for (let i = 8; i < 40; i += 4) both ^= word(frame, at + i);
  return mixed(both, portsOf(frame, protocol, at + 40), protocol);
}

/** The two ports, the same whichever is the source; 0 where there are none. */
function portsOf(frame: Uint8Array, protocol: number, at: number): number {
  if ((protocol !== 6 && protocol !== 17) || frame.length < at + 4) return 0;
  const [one, other] = [(frame[at]! << 8) | frame[at + 1]!, (frame[at + 2]! << 8) | frame[at + 3]!];
  return (one ^ other) | ((one + other) << 16);
}

const word = (frame: Uint8Array, at: number): number =>
  (frame[at]! << 24) | (frame[at + 1]! << 16) | (frame[at + 2]! << 8) | frame[at + 3]!;

/** Spreads what is alike: neighbours have neighbouring addresses. Never negative. */
function mixed(addresses: number, ports: number, protocol: number): number {
  let hash = Math.imul(addresses ^ Math.imul(ports, 0x9e37_79b1) ^ protocol, 0x85eb_ca6b);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0xc2b2_ae35);
  return (hash ^ (hash >>> 13)) >>> 0;
}
