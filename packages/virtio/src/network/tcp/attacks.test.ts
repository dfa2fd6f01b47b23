import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finished, internetChecksum } from '../../link/index.ts';
import { Peer } from './peer.fixture.ts';
import { addressA, addressB } from './simulation.fixture.ts';

describe('who does not know the next number', () => {
  it('cannot reset a connection', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    for (const seq of [2, 1000, 65_535]) {
      peer.send('R', { seq });
      expect(peer.take()).toEqual(['A 1 1']);
    }
    for (const seq of [0, -5, 65_536, 70_000, 2 ** 30]) peer.send('R', { seq });
    expect([peer.take(), heard.over]).toEqual([[], undefined]);
    peer.send('R', { seq: 1 });
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('cannot do so by a SYN', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    for (const seq of [0, 1, 500, 100_000, -3]) {
      peer.send('S', { seq });
      expect(peer.take()).toEqual(['A 1 1']);
    }
    expect(heard.over).toBe(undefined);
  });

  it('cannot slip in data with an acknowledgment of what was never sent, or long ago', () => {
    const peer = new Peer();
    const { heard } = peer.open({ window: 1000 });
    for (const ack of [2, 70_000, -1000]) {
      peer.send('A', { ack, data: 4 });
      expect(peer.take()).toEqual(['A 1 1']);
    }
    peer.send('', { data: 4 });
    expect([heard.bytes, peer.take()]).toEqual([[], []]);
    peer.send('A', { ack: -999, data: 4 });
    expect(heard.bytes).toEqual([1, 2, 3, 4]);
  });

  it('is answered ten times a second, so that nobody can measure or flood by it', () => {
    const peer = new Peer();
    peer.open();
    for (let i = 0; i < 1000; i++) peer.send('R', { seq: 2 + i });
    expect(peer.take().length).toBe(10);
    peer.clock.pass(1000);
    peer.send('S', { seq: 0 });
    expect(peer.take().length).toBe(1);
  });
});

describe('a window', () => {
  it('takes what lies in it, and cuts off what does not', () => {
    const peer = new Peer({ limits: { receiveBuffer: 10 } });
    const { heard } = peer.open();
    peer.send('A', { seq: 11, data: 5 });
    peer.send('A', { seq: -20, data: 21 });
    peer.send('A', { seq: 2 ** 31, data: 5 });
    expect([heard.bytes, peer.take()]).toEqual([[], ['A 1 1', 'A 1 1', 'A 1 1']]);
    peer.send('A', { seq: 6, data: 30 });
    peer.send('A', { seq: -2, data: 9 });
    expect(heard.bytes).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('keeps the first of two that differ', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    const of = (value: number, length: number) => new Uint8Array(length).fill(value);
    peer.send('A', { seq: 4, data: of(1, 3) });
    peer.send('A', { seq: 10, data: of(2, 2) });
    peer.send('A', { seq: 3, data: of(3, 10) });
    peer.send('A', { seq: 1, data: of(4, 5) });
    expect(heard.bytes).toEqual([4, 4, 3, 1, 1, 1, 3, 3, 3, 2, 2, 3]);
  });

  it('does not grow memory by crumbs', () => {
    const peer = new Peer();
    const { heard } = peer.open({ sackPermitted: true });
    for (let i = 0; i < 10_000; i++) peer.send('A', { seq: 3 + 2 * i, data: 1 });
    expect(heard.bytes).toEqual([]);
    for (let at = 1; at < 20_000; at += 1000) peer.send('A', { seq: at, data: 1000 });
    expect(heard.bytes.length).toBe(20_000);
    expect(heard.bytes.every((byte, i) => byte === ((i + 1) & 0xff))).toBe(true);
  });
});

describe('a peer that lies', () => {
  it('about the size of its segments does not make ours tiny, nor huge', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1 });
    stream.give(new Uint8Array(3000));
    expect(peer.sent.every((segment) => segment.payloadLength <= 88)).toBe(true);
    expect(peer.sent.length).toBeLessThan(40);
    peer.port++;
    const other = peer.open({ mss: 65_535 });
    other.stream.give(new Uint8Array(3000));
    expect(peer.sent.map((segment) => segment.payloadLength)).toEqual([1460, 1460, 80]);
  });

  it('about its windows is taken at 14 bits', () => {
    const peer = new Peer();
    const { stream } = peer.open({ scale: 15, window: 3 * 2 ** 14 });
    stream.give(new Uint8Array(100_000));
    expect(peer.sent.reduce((sum, segment) => sum + segment.payloadLength, 0)).toBe(14_600);
  });

  it('about what it has gets it all the same', () => {
    const peer = new Peer();
    const { stream } = peer.open({ sackPermitted: true, mss: 1000 });
    stream.give(new Uint8Array(5000));
    peer.take();
    const sack = [
      [-500, 400],
      [4000, 9000],
      [3000, 2000],
      [1, 2000],
    ] as const;
    for (let i = 0; i < 5; i++) peer.send('A', { sack });
    expect(peer.take()).toEqual([]);
    peer.clock.pass(200);
    expect(peer.take()).toEqual(['A 1+1000 1']);
  });

  it('and goes back on it gets it again', () => {
    const peer = new Peer();
    const { stream } = peer.open({ sackPermitted: true, mss: 1000 });
    stream.give(new Uint8Array(5000));
    peer.take();
    for (let end = 2001; end <= 5001; end += 1000) peer.send('A', { sack: [[1001, end]] });
    expect(peer.take()).toEqual(['A 1+1000 1']);
    // It has the first only, and says nothing of the others any more.
    peer.send('A', { ack: 1001 });
    peer.clock.pass(200);
    expect(peer.take()[0]).toBe('A 1001+1000 1');
    peer.send('A', { ack: 2001 });
    expect(peer.take()).toEqual(['A 2001+1000 1', 'A 3001+1000 1']);
  });

  it('about timestamps is not heard, when they go back', () => {
    const peer = new Peer();
    const { heard } = peer.open({ timestamps: [100, 0] });
    peer.send('A', { data: 2, timestamps: [99, 0] });
    expect([heard.bytes, peer.take()]).toEqual([[], ['A 1 1']]);
    peer.send('A', { data: 2 });
    expect([heard.bytes, peer.take()]).toEqual([[], []]);
    peer.send('A', { data: 2, timestamps: [100, 0] });
    expect([heard.bytes, peer.last.options.timestampEcho]).toEqual([[1, 2], 100]);
    // After 24 days nobody can tell.
    peer.clock.pass(24.1 * 24 * 3600 * 1000);
    peer.send('A', { seq: 3, data: 1, timestamps: [5, 0] });
    expect(heard.bytes).toEqual([1, 2, 3]);
  });

  it('with urgent data has it read as any other', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    peer.send('UA', { data: 3 });
    expect(heard.bytes).toEqual([1, 2, 3]);
  });

  it('acknowledges first and fast gains nothing but its own loss', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000 });
    stream.give(new Uint8Array(1_000_000));
    for (let i = 0; i < 50; i++) {
      const { sequence, payloadLength } = peer.last;
      peer.send('A', { ack: ((sequence - peer.ours) | 0) + payloadLength });
      // Whatever it says, no more is under way than its window has.
      expect(peer.sent.reduce((sum, segment) => sum + segment.payloadLength, 0)).toBeLessThanOrEqual(
        1_000_000,
      );
    }
  });
});

describe('a checksum', () => {
  it('is looked at unless the frame says that it need not be', () => {
    const peer = new Peer();
    peer.stack.onConnect = (request) => void request.accept();
    const bytes = peer.make('S', { seq: 0 });
    const one = { source: addressB, destination: addressA, bytes, offset: 0, length: bytes.length };
    peer.stack.receive({ ...one, offload: finished });
    expect([peer.take(), peer.stack.counters.malformed]).toEqual([[], 1]);
    const pseudo = Uint8Array.of(...addressB, ...addressA, 0, 6, 0, bytes.length, ...bytes);
    const checksum = internetChecksum(pseudo, 0, pseudo.length);
    new DataView(bytes.buffer).setUint16(16, checksum);
    peer.stack.receive({ ...one, offload: finished });
    expect(peer.take()).toEqual(['SA 0 1']);
    bytes[16] = bytes[16]! ^ 1;
    peer.stack.receive({ ...one, offload: { ...finished, needsChecksum: true } });
    expect(peer.take()).toEqual(['SA 0 1']);
  });
});

describe('whatever comes', () => {
  const made = fc.record({
    flags: fc.constantFrom('A', 'PA', 'FA', 'S', 'SA', 'R', 'RA', '', 'SFRPAU', 'F', 'UA'),
    seq: fc.oneof(fc.integer({ min: -5, max: 70_000 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 })),
    ack: fc.oneof(fc.integer({ min: -5, max: 50_000 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 })),
    window: fc.integer({ min: 0, max: 65_535 }),
    data: fc.constantFrom(0, 0, 1, 100, 1460, 30_000),
    sack: fc.array(fc.tuple(fc.integer({ min: -9, max: 50_000 }), fc.integer({ min: -9, max: 50_000 })), {
      maxLength: 3,
    }),
    wait: fc.constantFrom(0, 0, 0, 1, 50, 300, 70_000),
  });

  it('throws nothing, and costs no more than the limits', () => {
    fc.assert(
      fc.property(fc.array(made, { maxLength: 60 }), fc.boolean(), (all, reads) => {
        const peer = new Peer({ limits: { memory: 200_000, receiveBuffer: 100_000, connections: 4 } });
        const { stream } = peer.open({ sackPermitted: true, scale: 1 }, reads ? {} : { data: () => 0 });
        stream.give(new Uint8Array(40_000));
        for (const { flags, sack, wait, ...rest } of all) {
          peer.send(flags, sack.length > 0 ? { ...rest, sack } : rest);
          peer.clock.pass(wait);
          expect(peer.stack.budget.promised).toBeLessThanOrEqual(200_000);
          expect(peer.stack.connections).toBeLessThanOrEqual(4);
        }
        peer.stack.close();
        expect([peer.stack.budget.promised, peer.stack.sendBudget.promised]).toEqual([0, 0]);
        expect(peer.clock.pending).toBe(0);
      }),
      { numRuns: 80, seed: 5961 },
    );
  });
});
