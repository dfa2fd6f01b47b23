import { describe, expect, it } from 'vitest';
import type { TcpRequest, TcpStream } from './interface.ts';
import { Heard, Peer } from './peer.fixture.ts';
import { addressA, addressB, settled } from './simulation.fixture.ts';

const local = { address: addressA, port: 0 };
const remote = { address: addressB, port: 4000 };

/** Asks the peer for a connection. */
function ask(peer: Peer): { stream?: TcpStream; failure?: Error } {
  const result: { stream?: TcpStream; failure?: Error } = {};
  peer.stack.connect(local, remote).then(
    (stream) => {
      result.stream = stream;
    },
    (failure: Error) => {
      result.failure = failure;
    },
  );
  return result;
}

describe('a peer that asks', () => {
  it('is answered with what it offered, and no more', () => {
    const peer = new Peer();
    peer.stack.onConnect = (request) => void request.accept();
    peer.send('S', { seq: 0, mss: 1400, scale: 2, sackPermitted: true, timestamps: [9, 0] });
    expect(peer.last.options).toMatchObject({
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      hasTimestamps: true,
    });
    expect(peer.last.options.timestampEcho).toBe(9);
    peer.take();
    peer.send('S', { seq: 0, port: 4001 });
    expect(peer.last.options).toMatchObject({
      mss: 1460,
      windowScale: -1,
      sackPermitted: false,
      hasTimestamps: false,
    });
    expect(peer.take()).toEqual(['SA 0 1']);
  });

  it('waits until somebody decides, and asks again meanwhile', () => {
    const peer = new Peer();
    const requests: TcpRequest[] = [];
    peer.stack.onConnect = (request) => requests.push(request);
    peer.send('S', { seq: 0 });
    peer.send('S', { seq: 0 });
    expect(requests.length).toBe(1);
    expect(peer.take()).toEqual([]);
    const stream = requests[0]!.accept();
    expect(peer.take()).toEqual(['SA 0 1']);
    const heard = new Heard({});
    stream.handle(heard);
    peer.send('A', { data: 3 });
    expect(heard.bytes).toEqual([1, 2, 3]);
    expect(() => requests[0]!.accept()).toThrowError(/nobody asks/);
  });

  it('hears of a reset when it is refused, or nobody listens', () => {
    const peer = new Peer();
    peer.send('S', { seq: 0 });
    expect(peer.take()).toEqual(['RA 0 1']);
    peer.stack.onConnect = (request) => request.refuse();
    peer.send('S', { seq: 0, data: 5 });
    expect(peer.last.acknowledgment).toBe((peer.first + 1) | 0);
    expect(peer.stack.connections).toBe(0);
  });

  it('hears nothing when it is dropped', () => {
    const peer = new Peer();
    peer.stack.onConnect = (request) => request.drop();
    peer.send('S', { seq: 0 });
    expect(peer.take()).toEqual([]);
    expect(peer.stack.connections).toBe(0);
  });

  it('may give up, or begin anew, before there is an answer', () => {
    const peer = new Peer();
    const gone: number[] = [];
    let asked = 0;
    peer.stack.onConnect = (request) => {
      const number = asked++;
      request.onGone = () => gone.push(number);
    };
    peer.send('S', { seq: 0 });
    peer.send('R', { seq: 7 });
    expect(gone).toEqual([]);
    peer.send('R', { seq: 1 });
    expect(gone).toEqual([0]);
    peer.send('S', { seq: 0 });
    peer.send('S', { seq: 5000 });
    expect([asked, gone]).toEqual([3, [0, 1]]);
    expect(peer.stack.connections).toBe(1);
  });

  it('is answered again when it asks again, and when time passes; and is forgotten in the end', () => {
    const peer = new Peer();
    let stream: TcpStream | undefined;
    peer.stack.onConnect = (request) => {
      stream = request.accept();
    };
    peer.send('S', { seq: 0 });
    const heard = new Heard({});
    stream!.handle(heard);
    peer.send('S', { seq: 0 });
    expect(peer.take()).toEqual(['SA 0 1', 'SA 0 1']);
    peer.clock.pass(999);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['SA 0 1']);
    peer.clock.pass(1999);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['SA 0 1']);
    peer.clock.pass(400_000);
    expect(peer.stack.connections).toBe(0);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
    expect(peer.clock.pending).toBe(0);
  });

  it('completes only by acknowledging what was sent', () => {
    const peer = new Peer();
    peer.stack.onConnect = (request) => void request.accept();
    peer.send('S', { seq: 0 });
    peer.take();
    peer.send('A', { ack: 2 });
    expect(peer.take()).toEqual(['R 2']);
    peer.send('A', { ack: 0 });
    expect(peer.take()).toEqual(['R 0']);
    peer.send('A', { ack: 1, data: 1 });
    expect(peer.take()).toEqual(['A 1 2']);
  });

  it('costs no more than there is room for, however often it asks', () => {
    const peer = new Peer({ limits: { connections: 100, halfOpen: 10 } });
    let gone = 0;
    peer.stack.onConnect = (request) => {
      request.onGone = () => gone++;
    };
    for (let port = 1; port <= 1000; port++) peer.send('S', { seq: 0, port });
    expect(peer.stack.connections).toBe(10);
    expect(gone).toBe(990);
    expect(peer.take()).toEqual([]);
    expect(peer.stack.counters.overflows).toBe(990);
  });

  it('is not heard when every connection is in use', () => {
    const peer = new Peer({ limits: { connections: 2 } });
    peer.open();
    peer.port++;
    peer.open();
    peer.send('S', { seq: 0, port: 77 });
    expect(peer.take()).toEqual([]);
    expect(peer.stack.connections).toBe(2);
  });

  it('is no peer at port 0, nor one that ends as it begins', () => {
    const peer = new Peer();
    peer.stack.onConnect = (request) => void request.accept();
    peer.send('S', { seq: 0, port: 0 });
    peer.send('SF', { seq: 0 });
    expect(peer.take()).toEqual([]);
    expect(peer.stack.connections).toBe(0);
  });
});

describe('segments of no connection', () => {
  it('are answered by a reset that their sender believes, resets excepted', () => {
    const peer = new Peer();
    peer.ours = 5000;
    peer.send('A', { seq: 9, ack: 7, data: 3 });
    expect(peer.take()).toEqual(['R 7']);
    peer.ours = 0;
    peer.send('F', { seq: 9, data: 3 });
    expect(peer.take()).toEqual(['RA 0 13']);
    peer.send('R', { seq: 9 });
    peer.send('RA', { seq: 9 });
    expect(peer.take()).toEqual([]);
  });

  it('are not answered without end while there is no room', () => {
    const peer = new Peer();
    peer.room = false;
    for (let i = 0; i < 5000; i++) peer.send('A', { seq: i });
    peer.room = true;
    peer.stack.room();
    expect(peer.take().length).toBeLessThan(300);
  });
});

describe('a peer that is asked', () => {
  it('is connected once it agrees', async () => {
    const peer = new Peer();
    const asked = ask(peer);
    expect(peer.last.options).toMatchObject({
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      hasTimestamps: true,
    });
    expect(peer.take()).toEqual(['S 0']);
    peer.send('SA', { seq: 0, ack: 1, mss: 1460 });
    expect(peer.take()).toEqual(['A 1 1']);
    await settled();
    expect(asked.stream?.remote).toEqual(remote);
    void asked.stream!.write(Uint8Array.of(1, 2));
    expect(peer.take()).toEqual(['PA 1+2 1']);
  });

  it('may refuse, with the right number alone', async () => {
    const peer = new Peer();
    const asked = ask(peer);
    peer.take();
    peer.send('R', { seq: 0 });
    peer.send('RA', { seq: 0, ack: 2 });
    await settled();
    expect(asked.failure).toBe(undefined);
    peer.send('RA', { seq: 0, ack: 1 });
    await settled();
    expect(asked.failure).toMatchObject({ code: 'CONNECTION_REFUSED' });
    expect(peer.take()).toEqual([]);
    expect(peer.stack.connections).toBe(0);
  });

  it('is told to end what it takes for this connection', () => {
    const peer = new Peer();
    ask(peer);
    peer.take();
    peer.send('A', { seq: 50, ack: 700 });
    expect(peer.take()).toEqual(['R 700']);
    peer.send('SA', { seq: 0, ack: 1 });
    expect(peer.take()).toEqual(['A 1 1']);
  });

  it('may ask at the same moment', async () => {
    const peer = new Peer();
    const asked = ask(peer);
    peer.take();
    peer.send('S', { seq: 0 });
    expect(peer.take()).toEqual(['SA 0 1']);
    peer.send('SA', { seq: 0, ack: 1 });
    await settled();
    expect(asked.stream).toBeDefined();
    peer.send('A', { data: 2 });
    expect(peer.take()).toEqual(['A 1 3']);
  });

  it('may refuse after it asked at the same moment', async () => {
    const peer = new Peer();
    const asked = ask(peer);
    peer.send('S', { seq: 0 });
    peer.send('R', { seq: 1 });
    await settled();
    expect(asked.failure).toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('is asked for three minutes', async () => {
    const peer = new Peer();
    const asked = ask(peer);
    peer.clock.pass(179_000);
    await settled();
    expect(asked.failure).toBe(undefined);
    const asks = peer.take();
    expect(asks.length).toBeGreaterThan(6);
    expect(new Set(asks)).toEqual(new Set(['S 0']));
    peer.clock.pass(120_000);
    await settled();
    expect(asked.failure).toMatchObject({ code: 'CONNECTION_RESET' });
    expect(peer.clock.pending).toBe(0);
  });

  it('cannot be had when ICMP says so of what was sent', async () => {
    const peer = new Peer();
    const asked = ask(peer);
    const quote = (port: number, sequence: number) => {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setUint16(0, peer.localPort);
      new DataView(bytes.buffer).setUint16(2, port);
      new DataView(bytes.buffer).setInt32(4, sequence);
      return { source: addressA, destination: addressB, bytes, offset: 0 };
    };
    peer.stack.unreachable(quote(4001, peer.ours));
    peer.stack.unreachable(quote(4000, peer.ours + 1));
    peer.stack.unreachable({ ...quote(4000, peer.ours), offset: 1 });
    await settled();
    expect(asked.failure).toBe(undefined);
    peer.stack.unreachable(quote(4000, peer.ours));
    await settled();
    expect(asked.failure).toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('is asked by no two connections of the same ends, nor by more than there may be', async () => {
    const peer = new Peer({ limits: { connections: 2 } });
    void peer.stack.connect({ address: addressA, port: 9 }, remote);
    await expect(peer.stack.connect({ address: addressA, port: 9 }, remote)).rejects.toThrowError(/port 9/);
    void peer.stack.connect(local, remote);
    await expect(peer.stack.connect(local, remote)).rejects.toThrowError(/2 connections/);
    await expect(peer.stack.connect({ address: new Uint8Array(16), port: 0 }, remote)).rejects.toThrowError(
      /4 or 16/,
    );
    await expect(peer.stack.connect(local, { address: addressB, port: 0 })).rejects.toThrowError(/no port/);
  });

  it('cannot foresee ports and first numbers, which move on', () => {
    const peer = new Peer();
    const firsts = new Set<number>();
    const ports = new Set<number>();
    for (let i = 0; i < 20; i++) {
      void peer.stack.connect(local, remote);
      firsts.add(peer.last.sequence);
      ports.add(peer.last.sourcePort);
    }
    expect([firsts.size, ports.size]).toEqual([20, 20]);
    for (const port of ports) expect(port).toBeGreaterThanOrEqual(49_152);
  });
});
