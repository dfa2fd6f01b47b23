import { describe, expect, it } from 'vitest';
import type { TcpStream } from './interface.ts';
import { Peer } from './peer.fixture.ts';
import { addressA, addressB, Pair, settled } from './simulation.fixture.ts';

/** A connection whose stream has no handler. */
function opened(peer: Peer, window = 65_535): TcpStream {
  let stream: TcpStream | undefined;
  peer.stack.onConnect = (request) => {
    stream = request.accept();
  };
  peer.send('S', { seq: 0, mss: 1000, window });
  peer.send('A', { window });
  peer.take();
  return stream!;
}

describe('reading', () => {
  it('gives what came, then the end', async () => {
    const peer = new Peer();
    const stream = opened(peer);
    const first = stream.read();
    peer.send('A', { data: 3 });
    expect(await first).toEqual(Uint8Array.of(1, 2, 3));
    peer.send('FA', { seq: 4, data: 2 });
    const rest: number[] = [];
    for await (const bytes of stream) rest.push(...bytes);
    expect(rest).toEqual([4, 5]);
    expect(await stream.read()).toBe(undefined);
  });

  it('gives bytes that nothing is written over later', async () => {
    const peer = new Peer();
    const stream = opened(peer);
    const kept: Uint8Array[] = [];
    for (let seq = 1; seq < 150_000; seq += 1000) {
      peer.send('A', { seq, data: 1000 });
      kept.push((await stream.read())!);
    }
    const isWhole = () =>
      kept.every((bytes, i) => bytes.every((byte, j) => byte === ((1000 * i + j + 1) & 0xff)));
    expect(isWhole()).toBe(true);
    stream.handle({ data: (bytes) => bytes.length, end() {}, writable() {}, closed() {} });
    for (let seq = 150_001; seq < 300_000; seq += 1000) {
      peer.send('A', { seq: seq + 1000, data: 1000 });
      peer.send('A', { seq, data: 1000 });
    }
    expect(isWhole()).toBe(true);
  });

  it('goes on after the connection is over, unless it was reset', async () => {
    const peer = new Peer();
    const stream = opened(peer);
    peer.send('FA', { data: 3 });
    stream.end();
    peer.send('A', { seq: 5, ack: 2 });
    await stream.closed;
    expect(await stream.read()).toEqual(Uint8Array.of(1, 2, 3));
    expect(await stream.read()).toBe(undefined);
    peer.port++;
    const other = opened(peer);
    peer.send('A', { data: 3 });
    peer.send('R', { seq: 4 });
    await expect(other.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('is either by promises or by a handler', async () => {
    const peer = new Peer();
    const stream = opened(peer);
    const handler = { data: (bytes: Uint8Array) => bytes.length, end() {}, writable() {}, closed() {} };
    const waits = stream.read();
    expect(() => stream.handle(handler)).toThrowError(/waits/);
    peer.send('A', { data: 1 });
    await waits;
    stream.handle(handler);
    await expect(stream.read()).rejects.toThrowError(/handler/);
  });
});

describe('writing', () => {
  it('settles when the other side has the bytes', async () => {
    const peer = new Peer();
    const stream = opened(peer);
    const settledWrites: number[] = [];
    for (const [i, size] of [5, 3000, 1].entries()) {
      void stream.write(new Uint8Array(size)).then(() => settledWrites.push(i));
    }
    await stream.write(new Uint8Array());
    peer.send('A', { ack: 6 });
    await settled();
    expect(settledWrites).toEqual([0]);
    peer.send('A', { ack: 3007 });
    await settled();
    expect(settledWrites).toEqual([0, 1, 2]);
    stream.end();
    await expect(stream.write(Uint8Array.of(1))).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  it('of more than there is room for waits until half of it is free', () => {
    const peer = new Peer({ limits: { sendBuffer: 10_000 } });
    const { stream, heard } = peer.open({ mss: 1000, window: 2000 });
    expect(stream.tryWrite(new Uint8Array(15_000))).toBe(10_000);
    expect(stream.tryWrite(new Uint8Array(1))).toBe(0);
    expect(stream.give(new Uint8Array(5))).toBe(false);
    expect(stream.unacknowledged).toBe(10_000);
    peer.send('A', { ack: 2001, window: 2000 });
    expect(heard.rooms).toBe(0);
    peer.send('A', { ack: 4001, window: 2000 });
    peer.send('A', { ack: 6001, window: 2000 });
    expect(heard.rooms).toBe(1);
    // Given whole, once there is room for a part.
    expect(stream.give(new Uint8Array(50_000))).toBe(true);
    expect(stream.give(new Uint8Array(1))).toBe(false);
  });

  it('copies, so that the bytes may change', () => {
    const peer = new Peer();
    const { stream } = peer.open({ window: 0 });
    const bytes = Uint8Array.of(1, 2, 3);
    stream.tryWrite(bytes);
    bytes.fill(9);
    peer.send('A', { window: 1000 });
    expect(peer.payloads.at(-1)).toEqual(Uint8Array.of(1, 2, 3));
  });
});

describe('a handler', () => {
  it('is given again what it did not take, when it resumes', () => {
    const peer = new Peer();
    let takes = 2;
    const { stream, heard } = peer.open({}, { data: (bytes) => Math.min(takes, bytes.length) });
    peer.send('A', { data: 5 });
    peer.send('FA', { seq: 6, data: 5 });
    expect([heard.bytes, heard.ended]).toEqual([[1, 2], false]);
    stream.resume();
    expect(heard.bytes).toEqual([1, 2, 3, 4]);
    takes = 100;
    stream.resume();
    expect([heard.bytes, heard.ended]).toEqual([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], true]);
  });

  it('hears of the end of a connection behind all that came', () => {
    const peer = new Peer();
    let takes = 0;
    const { stream, heard } = peer.open({}, { data: (bytes) => Math.min(takes, bytes.length) });
    peer.send('FA', { data: 5 });
    stream.end();
    peer.send('A', { seq: 7, ack: 2 });
    expect([peer.stack.connections, heard.over]).toEqual([0, undefined]);
    takes = 10;
    stream.resume();
    expect([heard.bytes.length, heard.ended, heard.over]).toEqual([5, true, { failure: undefined }]);
  });

  it('may do anything from within what it hears', async () => {
    const pair = new Pair();
    const ended: string[] = [];
    pair.b.onConnect = (request) => {
      const stream = request.accept();
      stream.handle({
        // It answers each piece, resets at the last, and resumes itself for good measure.
        data(bytes) {
          stream.resume();
          if (bytes.includes(255)) stream.reset();
          else stream.tryWrite(bytes);
          return bytes.length;
        },
        end() {},
        writable() {},
        closed: () => ended.push('b'),
      });
    };
    let echoed = 0;
    void pair.a.connect({ address: addressA, port: 0 }, { address: addressB, port: 7 }).then((stream) => {
      stream.handle({
        data(bytes) {
          echoed += bytes.length;
          if (echoed === 20) stream.give(Uint8Array.of(255));
          else if (bytes.length > 0) stream.tryWrite(new Uint8Array(10));
          return bytes.length;
        },
        end() {},
        writable() {},
        closed: () => ended.push('a'),
      });
      stream.tryWrite(new Uint8Array(10));
    });
    for (let i = 0; i < 50; i++) {
      pair.clock.pass(10);
      await settled();
    }
    expect([echoed, ended, pair.a.connections, pair.b.connections]).toEqual([20, ['b', 'a'], 0, 0]);
  });
});

describe('many connections', () => {
  it('go side by side, and leave nothing', async () => {
    const pair = new Pair({ faults: { loss: 0.01, jitter: 1 }, b: { limits: { halfOpen: 1000 } } });
    const count = 500;
    let closed = 0;
    let bytes = 0;
    pair.b.onConnect = (request) => {
      const stream = request.accept();
      stream.handle({
        data(lent) {
          bytes += lent.length;
          stream.tryWrite(lent);
          return lent.length;
        },
        end: () => stream.end(),
        writable() {},
        closed: () => closed++,
      });
    };
    for (let i = 0; i < count; i++) {
      const remote = { address: addressB, port: 1 + (i % 50) };
      void pair.a.connect({ address: addressA, port: 0 }, remote).then((stream) => {
        stream.handle({ data: (lent) => lent.length, end() {}, writable() {}, closed: () => closed++ });
        stream.tryWrite(new Uint8Array(500));
        stream.end();
      });
    }
    expect(pair.a.connections).toBe(count);
    for (let i = 0; i < 4000 && closed < 2 * count; i++) {
      for (let j = 0; j < 500; j++) pair.clock.step();
      await settled();
    }
    expect([closed, bytes]).toEqual([2 * count, 500 * count]);
    pair.clock.pass(100_000);
    expect([pair.a.connections, pair.b.connections, pair.clock.pending]).toEqual([0, 0, 0]);
    expect(pair.a.budget.promised + pair.b.budget.promised).toBe(0);
  });
});
