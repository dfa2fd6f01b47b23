import { describe, expect, it } from 'vitest';
import { Peer } from './peer.fixture.ts';

describe('an acknowledgment', () => {
  it('is quick while a connection is young, then waits for a second segment, but not for long', () => {
    const peer = new Peer();
    peer.open();
    let seq = 1;
    const comes = (data: number) => {
      peer.send('A', { seq, data });
      seq += data;
    };
    for (let i = 0; i < 16; i++) comes(1000);
    expect(peer.take().length).toBe(16);
    comes(1000);
    expect(peer.take()).toEqual([]);
    comes(1000);
    expect(peer.take()).toEqual([`A 1 ${seq}`]);
    comes(10);
    peer.clock.pass(39);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual([`A 1 ${seq}`]);
    peer.clock.pass(500);
    expect(peer.take()).toEqual([]);
    // After a silence it is quick again.
    comes(10);
    expect(peer.take()).toEqual([`A 1 ${seq}`]);
  });

  it('goes with what is sent anyway', () => {
    const peer = new Peer();
    const { stream } = peer.open({}, { data: (bytes) => stream.tryWrite(bytes) });
    for (let i = 0; i < 20; i++) peer.send('A', { seq: 1 + 10 * i, ack: 1 + 10 * i, data: 10 });
    const lines = peer.take();
    expect(lines.length).toBe(20);
    expect(lines.every((line) => line.startsWith('PA'))).toBe(true);
    peer.clock.pass(100);
    expect(peer.take()).toEqual([]);
  });

  it('is one for a segment that was put together from many', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    for (let i = 0; i < 20; i++) peer.sendLarge(1448, 'A', { seq: 1 + 28_960 * i, data: 28_960 });
    expect(peer.take().length).toBe(20);
    expect(heard.bytes.length).toBe(20 * 28_960);
  });
});

describe('segments that follow each other at once', () => {
  it('are answered together', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open({}, { data: (bytes) => stream.tryWrite(bytes) });
    peer.stack.more(true);
    for (let i = 0; i < 5; i++) peer.send('A', { seq: 1 + 10 * i, data: 10 });
    expect([heard.bytes.length, peer.take()]).toEqual([50, []]);
    peer.stack.more(false);
    expect(peer.take()).toEqual(['PA 1+50 51']);
  });

  it('are answered one by one where some are missing, for those who count the answers', () => {
    const peer = new Peer();
    peer.open();
    peer.stack.more(true);
    for (let i = 1; i < 4; i++) peer.send('A', { seq: 1 + 10 * i, data: 10 });
    expect(peer.take()).toEqual(['A 1 1', 'A 1 1', 'A 1 1']);
    peer.send('A', { data: 10 });
    peer.stack.more(false);
    expect(peer.take()).toEqual(['A 1 41']);
  });
});

describe('what comes behind a gap', () => {
  it('is told of, the latest first, and acknowledged when the gap is filled', () => {
    const peer = new Peer();
    const { heard } = peer.open({ sackPermitted: true });
    peer.send('A', { seq: 11, data: 10 });
    peer.send('A', { seq: 31, data: 10 });
    peer.send('A', { seq: 51, data: 10 });
    peer.send('A', { seq: 71, data: 10 });
    peer.send('A', { seq: 91, data: 10 });
    peer.send('A', { seq: 41, data: 5 });
    expect(peer.take()).toEqual([
      'A 1 1 [11,21)',
      'A 1 1 [31,41) [11,21)',
      'A 1 1 [51,61) [31,41) [11,21)',
      'A 1 1 [71,81) [51,61) [31,41) [11,21)',
      'A 1 1 [91,101) [71,81) [51,61) [31,41)',
      'A 1 1 [31,46) [91,101) [71,81) [51,61)',
    ]);
    peer.send('A', { seq: 1, data: 10 });
    expect(peer.take()).toEqual(['A 1 21 [31,46) [91,101) [71,81) [51,61)']);
    peer.send('A', { seq: 15, data: 90 });
    expect(peer.take()).toEqual(['A 1 105 [15,21)']);
    expect(heard.bytes).toEqual(Array.from({ length: 104 }, (_, i) => i + 1));
  });

  it('is told of in three blocks beside timestamps, and not at all to a peer that did not ask', () => {
    const peer = new Peer();
    peer.open({ sackPermitted: true, timestamps: [1, 0] });
    for (const seq of [11, 31, 51, 71]) peer.send('A', { seq, data: 10, timestamps: [1, 0] });
    expect(peer.take().at(-1)).toBe('A 1 1 [71,81) [51,61) [31,41)');
    peer.port++;
    peer.open();
    peer.send('A', { seq: 11, data: 10 });
    expect(peer.take()).toEqual(['A 1 1']);
  });

  it('and comes twice is told of as well', () => {
    const peer = new Peer();
    peer.open({ sackPermitted: true });
    peer.send('A', { seq: 1, data: 10 });
    peer.take();
    peer.send('A', { seq: 1, data: 10 });
    expect(peer.take()).toEqual(['A 1 11 [1,11)']);
    peer.send('A', { seq: 21, data: 10 });
    peer.send('A', { seq: 6, data: 7 });
    expect(peer.take()).toEqual(['A 1 11 [21,31)', 'A 1 13 [6,11) [21,31)']);
    peer.clock.pass(1000);
    peer.send('A', { seq: 13, data: 1 });
    expect(peer.take()).toEqual(['A 1 14 [21,31)']);
  });
});

describe('the window', () => {
  it('closes before a reader who does not read, and opens when it has', () => {
    const peer = new Peer({ limits: { receiveBuffer: 5000 } });
    let open = false;
    const { stream, heard } = peer.open({}, { data: (bytes) => (open ? bytes.length : 0) });
    for (let i = 0; i < 5; i++) {
      peer.send('A', { seq: 1 + 1000 * i, data: 1000 });
      expect(peer.window()).toBe(4000 - 1000 * i);
    }
    peer.take();
    // A byte that asks for room is not taken; what it acknowledges counts.
    stream.tryWrite(Uint8Array.of(1));
    peer.send('A', { seq: 5001, ack: 2, data: 1 });
    expect(peer.window()).toBe(0);
    expect(peer.take().at(-1)).toBe('A 2 5001');
    open = true;
    stream.resume();
    expect(peer.window()).toBe(5000);
    expect(peer.take()).toEqual(['A 2 5001']);
    expect(heard.bytes.length).toBe(5000);
  });

  it('does not open by crumbs', () => {
    const peer = new Peer({ limits: { receiveBuffer: 4000 } });
    let takes = 0;
    const { stream } = peer.open({}, { data: () => takes });
    peer.send('A', { data: 4000 });
    peer.take();
    takes = 100;
    const windows: number[] = [];
    for (let i = 0; i < 40; i++) {
      stream.resume();
      if (peer.sent.length > 0) windows.push(peer.window());
      peer.take();
    }
    expect(windows[0]).toBeGreaterThanOrEqual(1460);
    expect(windows.length).toBeLessThan(4);
  });

  it('grows as the reader keeps up, and is scaled', () => {
    const peer = new Peer({ limits: { receiveBuffer: 1_000_000 } });
    peer.open({ scale: 0 });
    let seq = 1;
    const windows: number[] = [];
    for (let i = 0; i < 100; i++) {
      peer.sendLarge(1448, 'A', { seq, data: 28_960 });
      seq += 28_960;
      windows.push(peer.window(4));
    }
    expect(windows[0]).toBeLessThan(65_536);
    expect(windows.at(-1)).toBeGreaterThan(999_000);
  });

  it('never goes back, though it is told in units', () => {
    const peer = new Peer({ limits: { receiveBuffer: 1_000_000 } });
    const { heard } = peer.open({ scale: 0 }, { data: () => 0 });
    let edge = 0;
    let seq = 1;
    for (let i = 0; i < 100; i++) {
      peer.send('A', { seq, data: 333 });
      seq += 333;
      // What was ever in the window stays in it, up to a unit.
      const now = ((peer.last.acknowledgment - peer.first) | 0) + peer.window(4);
      expect(now).toBeGreaterThan(edge - 16);
      edge = Math.max(edge, now);
    }
    expect(heard.bytes).toEqual([]);
  });

  it('of all connections together is bounded', () => {
    const peer = new Peer({ limits: { memory: 200_000 } });
    for (let i = 0; i < 50; i++) {
      peer.port++;
      peer.open({}, { data: () => 0 });
    }
    expect(peer.stack.budget.promised).toBeLessThanOrEqual(200_000 + 50 * 4096);
    peer.port++;
    let stream: { reset(): void } | undefined;
    peer.stack.onConnect = (request) => {
      stream = request.accept();
    };
    peer.send('S', { seq: 0 });
    expect(peer.window()).toBe(4096);
    stream!.reset();
    peer.stack.close();
    expect(peer.stack.budget.promised).toBe(0);
  });
});

describe('a silent peer', () => {
  it('is not disturbed unless that is asked for', () => {
    const peer = new Peer();
    peer.open();
    peer.clock.pass(10 * 24 * 3600 * 1000);
    expect(peer.take()).toEqual([]);
  });

  it('is asked whether it is there, nine times', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    stream.keepAlive(600_000);
    peer.clock.pass(599_999);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['A 0 1']);
    peer.send('A');
    peer.clock.pass(600_000);
    expect(peer.take()).toEqual(['A 0 1']);
    peer.clock.pass(8 * 75_000);
    expect(peer.take().length).toBe(8);
    peer.clock.pass(75_000);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
    expect(peer.take()).toEqual(['RA 1 1']);
    expect(peer.clock.pending).toBe(0);
  });

  it('is not asked any more when that is taken back', () => {
    const peer = new Peer();
    const { stream } = peer.open();
    stream.keepAlive(1000);
    stream.keepAlive(0);
    peer.clock.pass(1_000_000);
    expect(peer.take()).toEqual([]);
  });
});
