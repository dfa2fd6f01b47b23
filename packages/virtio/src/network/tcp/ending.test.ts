import { describe, expect, it } from 'vitest';
import { Peer } from './peer.fixture.ts';
import { settled } from './simulation.fixture.ts';

describe('a connection ends', () => {
  it('by the peer first: CLOSE-WAIT, LAST-ACK', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    peer.send('FA', { data: 2 });
    expect(peer.take()).toEqual(['A 1 4']);
    expect([heard.bytes, heard.ended, heard.over]).toEqual([[1, 2], true, undefined]);
    // The other direction goes on.
    expect(stream.tryWrite(new Uint8Array(3))).toBe(3);
    expect(peer.take()).toEqual(['PA 1+3 4']);
    stream.end();
    expect(peer.take()).toEqual(['FPA 4 4']);
    peer.send('A', { seq: 4, ack: 5 });
    expect(heard.over).toEqual({ failure: undefined });
    expect(peer.stack.connections).toBe(0);
    expect(peer.clock.pending).toBe(1);
    peer.clock.pass(60_000);
    expect(peer.clock.pending).toBe(0);
  });

  it('by this end first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    stream.end();
    expect(peer.take()).toEqual(['FPA 1 1']);
    peer.send('A', { ack: 2 });
    peer.clock.pass(3_600_000);
    // As long as it likes, since somebody reads.
    peer.send('A', { ack: 2, data: 2 });
    expect(heard.bytes).toEqual([1, 2]);
    peer.take();
    peer.send('FA', { seq: 3, ack: 2 });
    expect(peer.take()).toEqual(['A 2 4']);
    expect([heard.ended, heard.over]).toEqual([true, { failure: undefined }]);
    expect(peer.stack.connections).toBe(1);
    peer.clock.pass(59_999);
    expect(peer.stack.connections).toBe(1);
    peer.clock.pass(1);
    expect(peer.stack.connections).toBe(0);
  });

  it('by both at once: CLOSING', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    stream.end();
    peer.take();
    peer.send('FA', { ack: 1 });
    expect(peer.take()).toEqual(['A 2 2']);
    expect(heard.over).toBe(undefined);
    peer.send('A', { seq: 2, ack: 2 });
    expect(heard.over).toEqual({ failure: undefined });
    expect(peer.stack.connections).toBe(1);
  });

  it('by a FIN that acknowledges ours', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    stream.end();
    peer.take();
    peer.send('FA', { ack: 2 });
    expect(peer.take()).toEqual(['A 2 2']);
    expect(heard.over).toEqual({ failure: undefined });
  });

  it('only when all before the FIN came', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    peer.send('FA', { seq: 4, data: 2 });
    expect([heard.ended, peer.take()]).toEqual([false, ['A 1 1']]);
    peer.send('A', { seq: 1, data: 3 });
    expect([heard.ended, heard.bytes, peer.take()]).toEqual([true, [1, 2, 3, 4, 5], ['A 1 7']]);
  });

  it('where its FIN says first, whatever it says later', () => {
    const peer = new Peer();
    const { heard } = peer.open();
    peer.send('FA', { seq: 5 });
    peer.send('FA', { seq: 3 });
    peer.send('A', { seq: 1, data: 20 });
    expect([heard.ended, heard.bytes]).toEqual([true, [1, 2, 3, 4]]);
  });

  it('with its FIN behind all that was written', () => {
    const peer = new Peer();
    const { stream } = peer.open({ window: 1000 });
    stream.give(new Uint8Array(1500));
    stream.end();
    expect(peer.take()).toEqual(['A 1+1000 1']);
    expect(() => stream.tryWrite(new Uint8Array(1))).toThrowError(/was ended/);
    peer.send('A', { ack: 1001, window: 1000 });
    expect(peer.take()).toEqual(['FPA 1001+500 1']);
  });

  it('with a FIN that is sent again, in TIME-WAIT acknowledged again', () => {
    const peer = new Peer();
    const { stream } = peer.open();
    stream.end();
    peer.take();
    peer.clock.pass(200);
    expect(peer.take()).toEqual(['FPA 1 1']);
    peer.send('FA', { ack: 2 });
    peer.take();
    peer.clock.pass(50_000);
    peer.send('FA', { ack: 2 });
    expect(peer.take()).toEqual(['A 2 2']);
    peer.clock.pass(50_000);
    expect(peer.stack.connections).toBe(1);
    peer.clock.pass(10_000);
    expect(peer.stack.connections).toBe(0);
  });
});

describe('TIME-WAIT', () => {
  function waiting(timestamps?: readonly [number, number]): Peer {
    const peer = new Peer();
    const stamps = timestamps === undefined ? {} : { timestamps };
    const { stream } = peer.open(stamps);
    stream.end();
    peer.send('FA', { ack: 2, ...stamps });
    peer.take();
    return peer;
  }

  it('makes way for a new connection whose numbers lie behind the old', () => {
    const peer = waiting();
    const before = peer.ours;
    peer.clock.pass(1);
    peer.send('S', { seq: 1 });
    expect(peer.take()).toEqual(['A 2 2']);
    peer.send('S', { seq: 500 });
    expect(peer.take()).toEqual(['SA 0 501']);
    expect(peer.ours).not.toBe(before);
  });

  it('makes way for one whose timestamp is newer', () => {
    const peer = waiting([10, 0]);
    peer.send('S', { seq: -7000, timestamps: [11, 0] });
    expect(peer.take()).toEqual(['SA 0 -6999']);
  });

  it('makes way when there is no room else', () => {
    const peer = new Peer({ limits: { connections: 3 } });
    for (let i = 0; i < 10; i++) {
      peer.port++;
      const { stream } = peer.open();
      stream.end();
      peer.send('FA', { ack: 2 });
      expect(peer.stack.connections).toBe(Math.min(i + 1, 3));
    }
  });

  it('ends by a reset of the right number', () => {
    const peer = waiting();
    peer.send('R', { seq: 2 });
    expect(peer.stack.connections).toBe(0);
  });
});

describe('close', () => {
  it('sends what was written, and resets a peer that goes on sending', async () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    stream.tryWrite(new Uint8Array(3));
    void stream.close();
    expect(peer.take()).toEqual(['PA 1+3 1', 'FPA 4 1']);
    peer.send('A', { ack: 5 });
    peer.send('A', { ack: 5, data: 3 });
    expect(peer.take()).toEqual(['RA 5 1']);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
    await stream.closed;
  });

  it('resets at once when something waits unread', () => {
    const peer = new Peer();
    const { stream } = peer.open({}, { data: () => 0 });
    peer.send('A', { data: 3 });
    peer.take();
    void stream.close();
    expect(peer.take()).toEqual(['RA 1 4']);
    expect(peer.stack.connections).toBe(0);
  });

  it('may be called from within what is read, which does not wait unread then', () => {
    const peer = new Peer();
    let takes = 0;
    const { stream, heard } = peer.open(
      {},
      {
        data(bytes) {
          if (takes++ === 0) return 0;
          void stream.close();
          return bytes.length;
        },
      },
    );
    peer.send('A', { data: 3 });
    peer.take();
    stream.resume();
    expect([heard.bytes, peer.take()]).toEqual([[1, 2, 3], ['FPA 1 4']]);
    peer.send('FA', { seq: 4, ack: 2 });
    expect(heard.over).toEqual({ failure: undefined });
  });

  it('waits for a silent peer a minute, when nobody would read what it says', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    void stream.close();
    peer.send('A', { ack: 2 });
    peer.clock.pass(59_999);
    expect(peer.stack.connections).toBe(1);
    peer.clock.pass(1);
    expect(peer.stack.connections).toBe(0);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('waits no longer for a peer without room than for one that is gone', () => {
    const peer = new Peer();
    const { stream } = peer.open({ window: 0 });
    stream.tryWrite(new Uint8Array(10));
    void stream.close();
    for (let i = 0; i < 2000 && peer.stack.connections > 0; i++) {
      peer.clock.pass(1000);
      if (peer.take().length > 0) peer.send('A', { window: 0 });
    }
    expect(peer.stack.connections).toBe(0);
  });
});

describe('a reset', () => {
  it('from here is told at once, and what was written is lost', async () => {
    const peer = new Peer();
    const { stream, heard } = peer.open({ window: 2 });
    const written = stream.write(new Uint8Array(10));
    peer.take();
    stream.reset();
    expect(peer.take()).toEqual(['RA 3 1']);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
    await expect(written).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    expect(stream.tryWrite(new Uint8Array(1))).toBe(0);
    await settled();
    expect(peer.clock.pending).toBeLessThanOrEqual(1);
  });

  it('from there loses what was not read', () => {
    const peer = new Peer();
    const { heard } = peer.open({}, { data: () => 0 });
    peer.send('A', { data: 5 });
    peer.send('R', { seq: 6 });
    expect(heard.bytes).toEqual([]);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('of a peer that has everything is an end like any other', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    peer.send('FA');
    stream.end();
    peer.send('R', { seq: 2 });
    expect(heard.over).toEqual({ failure: undefined });
  });

  it('goes to every connection when the network is closed', () => {
    const peer = new Peer();
    peer.open();
    peer.port++;
    peer.open();
    peer.stack.close();
    expect(peer.sent.map((segment) => segment.flags)).toEqual([0x14, 0x14]);
    peer.send('S', { seq: 0 });
    expect([peer.stack.connections, peer.clock.pending, peer.sent.length]).toEqual([0, 0, 2]);
  });
});
