import { describe, expect, it } from 'vitest';
import { Toeplitz } from './toeplitz.ts';

/** The key and the flows by which Microsoft's description of RSS has implementations verified. */
const key = Uint8Array.from(
  Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'),
);

const ipv4 = [
  {
    to: '161.142.100.80',
    toPort: 1766,
    from: '66.9.149.187',
    fromPort: 2794,
    ip: 0x323e8fc2,
    tcp: 0x51ccc178,
  },
  {
    to: '65.69.140.83',
    toPort: 4739,
    from: '199.92.111.2',
    fromPort: 14230,
    ip: 0xd718262a,
    tcp: 0xc626b0ea,
  },
  {
    to: '12.22.207.184',
    toPort: 38024,
    from: '24.19.198.95',
    fromPort: 12898,
    ip: 0xd2d0a5de,
    tcp: 0x5c2b394a,
  },
  {
    to: '209.142.163.6',
    toPort: 2217,
    from: '38.27.205.30',
    fromPort: 48228,
    ip: 0x82989176,
    tcp: 0xafc7327f,
  },
  {
    to: '202.188.127.2',
    toPort: 1303,
    from: '153.39.163.191',
    fromPort: 44251,
    ip: 0x5d1809c5,
    tcp: 0x10e828a2,
  },
];

function inputOf({ to, toPort, from, fromPort }: (typeof ipv4)[number]): Uint8Array {
  const address = (text: string): number[] => text.split('.').map(Number);
  const port = (number: number): number[] => [number >>> 8, number & 0xff];
  return Uint8Array.from([...address(from), ...address(to), ...port(fromPort), ...port(toPort)]);
}

describe('the Toeplitz hash', () => {
  it.each(ipv4)('of a flow from $from is as published', (flow) => {
    const toeplitz = new Toeplitz(key);
    expect(toeplitz.hash(inputOf(flow), 8)).toBe(flow.ip);
    expect(toeplitz.hash(inputOf(flow), 12)).toBe(flow.tcp);
  });

  it('of a flow of IPv6 is as published', () => {
    // From 3ffe:2501:200:1fff::7 port 2794 to 3ffe:2501:200:3::1 port 1766.
    const input = Uint8Array.from(
      Buffer.from(
        '3ffe2501020' + '01fff0000000000000007' + '3ffe2501020000030000000000000001' + '0aea06e6',
        'hex',
      ),
    );
    expect(input).toHaveLength(36);
    const toeplitz = new Toeplitz(key);
    expect(toeplitz.hash(input, 32)).toBe(0x2cc18cd5);
    expect(toeplitz.hash(input, 36)).toBe(0x40207d3d);
  });

  it('goes on with zeroes behind a short key, and has none for an empty one', () => {
    const input = new Uint8Array(36).fill(0xff);
    expect(new Toeplitz(new Uint8Array(0)).hash(input, 36)).toBe(0);
    const padded = new Uint8Array(40);
    padded.set(key.subarray(0, 10));
    expect(new Toeplitz(key.subarray(0, 10)).hash(input, 36)).toBe(new Toeplitz(padded).hash(input, 36));
    expect(new Toeplitz(new Uint8Array(255).fill(1)).hash(input, 1)).not.toBe(0);
  });
});
