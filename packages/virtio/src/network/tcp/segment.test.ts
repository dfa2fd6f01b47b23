import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyedHash } from './keyed-hash.ts';
import { Options } from './options.ts';
import { Peer } from './peer.fixture.ts';
import { Segment } from './segment.ts';

function options(...bytes: number[]): Options {
  const parsed = new Options();
  parsed.parse(Uint8Array.from(bytes), 0, bytes.length);
  return parsed;
}

describe('a segment', () => {
  it('is read as it was written', () => {
    const bytes = new Peer().make('SPA', {
      seq: 5,
      ack: 9,
      window: 513,
      data: 7,
      mss: 1400,
      scale: 3,
      sackPermitted: true,
      timestamps: [-5, 77],
    });
    const segment = new Segment();
    expect(segment.parse(bytes, 0, bytes.length)).toBe(true);
    expect(segment).toMatchObject({
      sourcePort: 4000,
      destinationPort: 80,
      sequence: -11,
      acknowledgment: 9,
      window: 513,
      payloadLength: 7,
      sequenceLength: 8,
    });
    expect(segment.options).toMatchObject({
      mss: 1400,
      windowScale: 3,
      sackPermitted: true,
      hasTimestamps: true,
      timestamp: -5,
      timestampEcho: 77,
    });
  });

  it('has a header that lies within it', () => {
    const segment = new Segment();
    const bytes = new Peer().make('A', { data: 4 });
    expect(segment.parse(bytes, 0, 19)).toBe(false);
    expect(segment.parse(bytes, 0, bytes.length + 1)).toBe(false);
    bytes[12] = 0x40;
    expect(segment.parse(bytes, 0, bytes.length)).toBe(false);
    bytes[12] = 0x70;
    expect(segment.parse(bytes, 0, bytes.length)).toBe(false);
  });

  it('never reads beyond what it was given, whatever that is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (bytes, length) => {
        const segment = new Segment();
        if (!segment.parse(bytes, 0, length)) return;
        expect(segment.payloadAt + segment.payloadLength).toBe(length);
        expect(segment.options.sackBlocks).toBeLessThanOrEqual(4);
        expect(segment.options.windowScale).toBeLessThanOrEqual(14);
      }),
      { numRuns: 500 },
    );
  });
});

describe('options', () => {
  it('end where the length of one is impossible', () => {
    expect(options(8, 0, 2, 4, 5, 180).mss).toBe(0);
    expect(options(77, 1, 2, 4, 5, 180).mss).toBe(0);
    expect(options(77, 9, 2, 4, 5, 180).mss).toBe(0);
    expect(options(2).mss).toBe(0);
  });

  it('are passed over when unknown, or of a length that is not theirs', () => {
    expect(options(77, 3, 0, 2, 4, 5, 180).mss).toBe(1460);
    expect(options(2, 3, 5, 2, 4, 5, 180).mss).toBe(1460);
    expect(options(4, 3, 0, 1, 3, 3, 2)).toMatchObject({ sackPermitted: false, windowScale: 2 });
    expect(options(5, 7, 0, 0, 0, 0, 0)).toMatchObject({ sackBlocks: 0 });
    expect(options(8, 9, 0, 0, 0, 0, 0, 0, 0).hasTimestamps).toBe(false);
  });

  it('are not read behind their end', () => {
    expect(options(1, 0, 2, 4, 5, 180).mss).toBe(0);
  });

  it('scale windows by 14 bits at most', () => {
    expect(options(3, 3, 15).windowScale).toBe(14);
    expect(options(3, 3, 255).windowScale).toBe(14);
  });
});

describe('the keyed hash', () => {
  it('is HalfSipHash-2-4, as its authors test it', () => {
    const hash = new KeyedHash((bytes) => bytes.set([0, 1, 2, 3, 4, 5, 6, 7]));
    expect(hash.begin().end() >>> 0).toBe(0x5b9f35a9);
    expect(
      hash
        .begin()
        .bytes(Uint8Array.of(0, 1, 2, 3))
        .end() >>> 0,
    ).toBe(0x89466e2a);
    expect(
      hash
        .begin()
        .bytes(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7))
        .end() >>> 0,
    ).toBe(0x8f84b8d0);
  });
});
