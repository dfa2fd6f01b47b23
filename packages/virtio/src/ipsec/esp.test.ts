import { describe, expect, it } from 'vitest';
import { get16, put16 } from '../link/bytes.ts';
import { internetChecksum } from '../link/checksum.ts';
import { PacketHeaders } from '../link/headers.ts';
import { type PacketOptions, packet } from '../link/packets.fixture.ts';
import { aeadAlgorithm, macAlgorithm } from './algorithms.ts';
import { type EspAssociation, espOverhead } from './association.ts';
import { chacha20Poly1305 } from './chacha20-poly1305.ts';
import { EspInbound, OpeningRoom } from './inbound.ts';
import { type LifetimeLimits, unlimited } from './lifetime.ts';
import { EspOutbound } from './outbound.ts';
import { EspPacket } from './packet.ts';
import { type EspTransform, espTransform } from './transform.ts';

const keys = {
  cipher: aeadAlgorithm.CHACHA20_POLY1305,
  cipherKey: Uint8Array.from({ length: 32 }, (_, i) => i),
  mac: macAlgorithm.NO_MAC,
  macKey: new Uint8Array(0),
  salt: Uint8Array.of(1, 2, 3, 4),
  extended: false,
};

function transform(extended = false): EspTransform {
  const made = espTransform({ ...keys, extended }, { aeads: [chacha20Poly1305] });
  if (made === undefined) throw new Error('there is no transform');
  return made;
}

const association = (given: Partial<EspAssociation> = {}): EspAssociation => ({
  spi: 0x1234_5678,
  mode: 'tunnel',
  transform: transform(given.extended),
  extended: false,
  udp: undefined,
  tunnel: v4Tunnel,
  copyDscp: false,
  decrementHops: false,
  copyDontFragment: false,
  ecn: false,
  replayWindow: 32,
  lifetime: unlimited,
  ...given,
});

const v4Tunnel = {
  version: 4,
  source: Uint8Array.of(192, 0, 2, 1),
  destination: Uint8Array.of(192, 0, 2, 2),
  dscp: 10,
  dontFragment: true,
  hops: 33,
  flowLabel: 0,
} as const;
const v6Tunnel = {
  ...v4Tunnel,
  version: 6,
  source: new Uint8Array(16).fill(0x20),
  destination: new Uint8Array(16).fill(0x21),
  flowLabel: 0xa_bcde,
} as const;

const room = new OpeningRoom(66_000);
const into = new Uint8Array(66_000);

const sealed = (outbound: EspOutbound, frame: Uint8Array): Uint8Array => {
  const length = outbound.seal(frame, into);
  if (length === 0) throw new Error(outbound.refusal);
  return into.slice(0, length);
};

/** What a frame becomes; or why it does not. */
function opened(inbound: EspInbound, frame: Uint8Array): Uint8Array | string {
  const where = new EspPacket();
  if (!where.read(frame)) return 'holds no ESP';
  if (!inbound.open(frame, where, room)) return inbound.refusal;
  inbound.taken();
  return inbound.frame.slice();
}

const frameOf = (options: Partial<PacketOptions> = {}): Uint8Array =>
  packet({ version: 4, protocol: 'udp', payload: Uint8Array.from({ length: 99 }, (_, i) => i), ...options })
    .frame;

/** The header of IPv4 adds up. */
const adds = (frame: Uint8Array, at = 14): boolean =>
  internetChecksum(frame, at, at + (frame[at]! & 15) * 4) === 0;

describe('packets of ESP', () => {
  for (const version of [4, 6] as const) {
    for (const [name, given] of [
      ['in a tunnel over IPv4', { tunnel: v4Tunnel }],
      ['in a tunnel over IPv6', { tunnel: v6Tunnel }],
      ['in transport mode', { mode: 'transport', tunnel: undefined }],
      ['in UDP, in a tunnel over IPv4', { udp: { source: 4500, destination: 4501 } }],
      ['in UDP, in a tunnel over IPv6', { tunnel: v6Tunnel, udp: { source: 4500, destination: 4501 } }],
      [
        'in UDP, in transport mode',
        { mode: 'transport', tunnel: undefined, udp: { source: 9, destination: 10 } },
      ],
      ['with numbers of 64 bits', { extended: true }],
    ] as const) {
      it(`come back as they were: IPv${version}, ${name}`, () => {
        const outbound = new EspOutbound(association(given));
        const inbound = new EspInbound(association(given));
        for (const options of [
          {},
          { tags: 1 },
          { ipOptions: 2 },
          { protocol: 'tcp' as const, payload: new Uint8Array(0) },
        ]) {
          const frame = frameOf({ version, ...options });
          const packetAt = 14 + 4 * ('tags' in options ? 1 : 0);
          const made = sealed(outbound, frame);
          const headers = new PacketHeaders();
          expect(headers.read(made, packetAt)).toBe(true);
          if (headers.version === 4) expect(adds(made, packetAt)).toBe(true);
          expect(headers.protocol).toBe('udp' in given ? 17 : 50);
          const shape = {
            mode: association(given).mode,
            lengths: transform(),
            udp: 'udp' in given,
            outerVersion: headers.version,
          };
          const inner = new PacketHeaders();
          inner.read(frame, packetAt);
          const from =
            shape.mode === 'tunnel' ? packetAt : version === 4 ? inner.transportAt : inner.fragmentHeaderAt;
          expect(made.length - frame.length).toBe(espOverhead(shape, frame.length - from));
          expect(opened(inbound, made)).toEqual(frame);
        }
      });
    }
  }

  it('leave no padding of Ethernet behind', () => {
    const small = frameOf({ payload: Uint8Array.of(7) });
    const padded = new Uint8Array(60);
    padded.set(small);
    const outbound = new EspOutbound(association());
    const made = sealed(outbound, padded);
    const longer = new Uint8Array(made.length + 20);
    longer.set(made);
    expect(opened(new EspInbound(association()), longer)).toEqual(small);
  });

  it('have the outer header that the tunnel says, or the packet', () => {
    const frame = frameOf();
    frame[14 + 1] = 0xb8 | 2;
    frame[14 + 8] = 2;
    put16(frame, 14 + 6, 0);
    put16(frame, 14 + 10, 0);
    put16(frame, 14 + 10, internetChecksum(frame, 14, 34));
    const plain = sealed(new EspOutbound(association()), frame);
    expect([plain[14 + 1], get16(plain, 14 + 6), plain[14 + 8]]).toEqual([10 << 2, 0x4000, 33]);
    const copies = { copyDscp: true, copyDontFragment: true, decrementHops: true, ecn: true };
    const outbound = new EspOutbound(association(copies));
    const copied = sealed(outbound, frame);
    expect([copied[14 + 1], get16(copied, 14 + 6)]).toEqual([0xba, 0]);
    const back = opened(new EspInbound(association()), copied);
    expect(typeof back === 'string' ? back : [back[14 + 8], adds(back)]).toEqual([1, true]);
    frame[14 + 8] = 1;
    expect(() => sealed(outbound, frame)).toThrow('has no hop left');
    const v6 = sealed(new EspOutbound(association({ ...copies, tunnel: v6Tunnel })), frameOf({ version: 6 }));
    expect(Array.from(v6.subarray(14, 18))).toEqual([0x60, 0x0a, 0xbc, 0xde]);
  });

  it('tell of congestion through a tunnel (RFC 6040)', () => {
    const withEcn = (field: number): Uint8Array => {
      const frame = frameOf();
      frame[15] = field;
      put16(frame, 24, 0);
      put16(frame, 24, internetChecksum(frame, 14, 34));
      return frame;
    };
    const result = (inner: number, outer: number): number | string => {
      const made = sealed(new EspOutbound(association()), withEcn(inner));
      made[15] = outer;
      const back = opened(new EspInbound(association({ ecn: true })), made);
      if (typeof back === 'string') return back;
      expect(adds(back)).toBe(true);
      return back[15]!;
    };
    expect([result(2, 3), result(1, 3), result(3, 0), result(0, 1), result(2, 1), result(1, 2)]).toEqual([
      3, 3, 3, 0, 1, 1,
    ]);
    expect(result(0, 3)).toMatch(/congestion/);
  });

  it('are opened once, in any order within the window, and not when they were changed', () => {
    const outbound = new EspOutbound(association());
    const inbound = new EspInbound(association());
    const frames = Array.from({ length: 40 }, () => sealed(outbound, frameOf()));
    expect(opened(inbound, frames[39]!)).toEqual(frameOf());
    expect(opened(inbound, frames[39]!)).toBe('was seen before, or is too old');
    expect(opened(inbound, frames[7]!)).toBe('was seen before, or is too old');
    expect(opened(inbound, frames[8]!)).toEqual(frameOf());
    for (const at of [14 + 20 + 4, 14 + 20 + 9, 14 + 20 + 20, frames[20]!.length - 1]) {
      const changed = frames[20]!.slice();
      changed[at]! ^= 1;
      expect(opened(inbound, changed)).toMatch(/not authentic|seen before/);
    }
    expect(opened(inbound, frames[20]!)).toEqual(frameOf());
    const other = new EspInbound(association({ udp: { source: 1, destination: 2 } }));
    expect(opened(other, frames[0]!)).toBe('is not encapsulated as its association is');
  });

  it('end with their association', () => {
    const count = (lifetime: Partial<LifetimeLimits>): (string | boolean)[] => {
      const outbound = new EspOutbound(association({ lifetime: { ...unlimited, ...lifetime } }));
      return Array.from({ length: 4 }, () => {
        const length = outbound.seal(frameOf(), into);
        return length === 0 ? outbound.refusal : outbound.softExpired;
      });
    };
    const gone = 'comes when its association has expired';
    expect(count({ packetsSoft: 2, packetsHard: 3 })).toEqual([false, true, true, gone]);
    // A packet has 127 bytes.
    expect(count({ bytesSoft: 255, bytesHard: 380 })).toEqual([false, false, gone, gone]);
    expect(count({ bytesSoft: 254, bytesHard: 381 })).toEqual([false, true, true, gone]);
    const outbound = new EspOutbound(association());
    outbound.restore({ sequence: 0xffff_fffe, packets: 0, bytes: 0 });
    sealed(outbound, frameOf());
    expect(() => sealed(outbound, frameOf())).toThrow('no sequence number left');
    const inbound = new EspInbound(
      association({ lifetime: { ...unlimited, packetsHard: 1, packetsSoft: 1 } }),
    );
    const other = new EspOutbound(association());
    expect([inbound.softExpired, opened(inbound, sealed(other, frameOf()))]).toEqual([false, frameOf()]);
    expect([inbound.softExpired, opened(inbound, sealed(other, frameOf()))]).toEqual([true, gone]);
  });

  it('go on behind 32 bits where numbers have 64', () => {
    const both = association({ extended: true });
    const outbound = new EspOutbound(both);
    outbound.restore({ sequence: 0xffff_fffe, packets: 0, bytes: 0 });
    const inbound = new EspInbound(association({ extended: true }));
    inbound.restore({ highest: 0xffff_fff0, numbers: [], packets: 0, bytes: 0 });
    const frames = Array.from({ length: 4 }, () => sealed(outbound, frameOf()));
    for (const i of [2, 0, 3, 1]) expect(opened(inbound, frames[i]!)).toEqual(frameOf());
    expect(inbound.state).toMatchObject({ highest: 0x1_0000_0002, packets: 4 });
  });

  it('are not made of what is no packet', () => {
    const transport = new EspOutbound(association({ mode: 'transport', tunnel: undefined }));
    const fragment = frameOf();
    put16(fragment, 20, 0x2000);
    const cut = frameOf().subarray(0, 60);
    const other = frameOf();
    put16(other, 12, 0x88b5);
    const refusals = [fragment, cut, other, new Uint8Array(10)].map((frame) => {
      expect(transport.seal(frame, into)).toBe(0);
      return transport.refusal;
    });
    expect(refusals).toEqual([
      'has a fragment, for transport mode',
      'is shorter than the packet in it',
      'is not of IP',
      'is not of IP',
    ]);
    const large = frameOf({ payload: new Uint8Array(65_500) });
    expect(new EspOutbound(association()).seal(large, into)).toBe(0);
  });

  it('that hold nothing are dropped, and those that hold what cannot be are not opened', () => {
    const make = (text: readonly number[], mode: 'tunnel' | 'transport' = 'tunnel'): Uint8Array => {
      const { ivLength, icvLength } = transform();
      const esp = new Uint8Array(8 + ivLength + text.length + icvLength);
      esp.set([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1]);
      esp.set(text, 8 + ivLength);
      association({ mode }).transform.seal(esp, 1);
      const frame = frameOf({ payload: new Uint8Array(esp.length - 8) });
      frame[23] = 50;
      frame.set(esp, 34);
      return frame;
    };
    expect(opened(new EspInbound(association()), make([1, 1, 1, 59]))).toEqual(new Uint8Array(0));
    expect(opened(new EspInbound(association()), make([1, 2, 3, 4]))).toMatch(/padding/);
    expect(opened(new EspInbound(association()), make([1, 2, 0, 17]))).toMatch(/holds no packet/);
    expect(opened(new EspInbound(association()), make([0x45, 2, 0, 4]))).toMatch(/none/);
    expect(opened(new EspInbound(association()), make([1, 2, 3, 1, 17].slice(0, 5)))).toMatch(/cut short/);
    const transport = new EspInbound(association({ mode: 'transport' }));
    expect(opened(transport, make([5, 6, 0, 17], 'transport'))).toMatchObject({ length: 36 });
  });
});
