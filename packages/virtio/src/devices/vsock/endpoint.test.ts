import { describe, expect, it } from 'vitest';
import { idle } from '../../device/idle.fixture.ts';
import { difference, pattern } from '../../testing/fixtures/pattern.ts';
import { hostCid, socketType } from './spec.ts';
import type { PayloadSource } from './spec-connection.ts';
import { Credit } from './spec-credit.ts';
import { Endpoint } from './spec-endpoint.ts';
import { Packet } from './spec-packet.ts';
import { Received } from './spec-received.ts';
import { Sockets } from './spec-sockets.ts';
import type { VsockStream } from './spec-stream.ts';

describe('credit', () => {
  // @holds 5.10.6.3.1 driver: Device Types / Socket Device / Device Operation / Buffer Space Management
  it('counts modulo 2^32, as the formula of the specification does', () => {
    const credit = new Credit(1000);
    credit.heard(500, 0);
    credit.sent(2 ** 32 - 20);
    credit.heard(500, 2 ** 32 - 120);
    expect(credit.peerFree).toBe(400);
    credit.sent(300);
    expect(credit.peerFree).toBe(100);
    credit.heard(500, 280);
    expect(credit.peerFree).toBe(500);
    credit.heard(500, 281);
    expect(credit.peerFree).toBe(0);
  });

  it('takes what the peer was told that there is room for, across 2^32 too', () => {
    const credit = new Credit(1000);
    const told = { bufAlloc: 0, fwdCnt: 0 };
    for (let total = 0; total <= 2 ** 32; total += 2 ** 20) {
      // Two halves of a counter's steps, larger than any buffer.
      credit.forward(2 ** 20);
      credit.tell(told);
      expect(told.fwdCnt).toBe((total + 2 ** 20) % 2 ** 32);
    }
  });
});

describe('what was received', () => {
  it('holds little more than its bytes, however small they come', () => {
    const received = new Received();
    for (let i = 0; i < 10_000; i++) received.add(Uint8Array.of(i & 0xff));
    const pieces: number[] = [];
    for (let bytes = received.takeBytes(); bytes !== undefined; bytes = received.takeBytes()) {
      expect(bytes[0]).toBe(pieces.reduce((sum, one) => sum + one, 0) & 0xff);
      pieces.push(bytes.length);
    }
    expect(pieces).toEqual([4096, 4096, 1808]);
  });

  it('does not keep the rest of a buffer that it was given a part of, nor write over what was taken', () => {
    const received = new Received();
    const buffer = new Uint8Array(20_000).fill(1);
    received.add(buffer.subarray(44));
    buffer.fill(2);
    const taken = received.takeBytes();
    expect(taken?.every((byte) => byte === 1)).toBe(true);
    received.add(Uint8Array.of(3));
    const first = received.takeBytes();
    received.add(Uint8Array.of(4));
    expect([first?.[0], received.takeBytes()?.[0], received.length]).toEqual([3, 4, 0]);
  });

  it('keeps thousands of messages apart', () => {
    const received = new Received();
    for (let i = 0; i < 5000; i++) {
      received.add(new Uint8Array(i % 7).fill(i & 0xff));
      received.endMessage(i % 3 === 0);
    }
    for (let i = 0; i < 5000; i++) {
      const message = received.takeMessage();
      expect([message?.data.length, message?.endOfRecord]).toEqual([i % 7, i % 3 === 0]);
      if (i === 2500) received.endMessage(false);
    }
    expect(received.takeMessage()?.data).toHaveLength(0);
    expect(received.takeMessage()).toBeUndefined();
    expect([received.length, received.messages]).toEqual([0, 0]);
  });
});

/** Two ends, and packets that go from one to the other as they are. */
class Pair {
  readonly host: Endpoint;
  readonly guest: Endpoint;
  /** Of each packet of the host's: what it told of its counters. */
  readonly seen: number[] = [];
  readonly #eager: boolean;
  readonly #receiving = new Set<Endpoint>();

  /** `eager`: packets go the moment that there are any, and answers come within the call that asked for them. */
  constructor(eager = false) {
    this.#eager = eager;
    const wake = (): void => {
      while (this.#eager && this.carry());
    };
    this.host = new Endpoint(hostCid, {}, wake);
    this.guest = new Endpoint(3, {}, wake);
    for (const end of [this.host, this.guest]) end.begin([socketType.STREAM, socketType.SEQPACKET]);
  }

  /** Hands on all that there is; true when there was anything. */
  carry(): boolean {
    let any = false;
    for (const [from, to] of [
      [this.host, this.guest],
      [this.guest, this.host],
    ] as const) {
      const packet = new Packet();
      // As on both sides: while packets are taken, nothing is sent and no further ones are taken.
      while (!this.#receiving.has(from) && !this.#receiving.has(to) && from.next(packet, 65_536)) {
        any = true;
        packet.len = packet.payload.length;
        if (from === this.host) this.seen.push(packet.fwdCnt);
        // Nobody changes what is sent here, so that it need not be copied.
        const source: PayloadSource = { bytes: () => packet.payload as Uint8Array<ArrayBuffer> };
        this.#receiving.add(to);
        to.receive(packet, source);
        this.#receiving.delete(to);
      }
    }
    return any;
  }
}

describe('a connection', () => {
  // @holds 5.10.6.3.2 device: Device Types / Socket Device / Device Operation / Buffer Space Management
  it('carries more than 2^32 bytes in each direction', async () => {
    const pair = new Pair();
    const [host, guest] = [new Sockets(pair.host), new Sockets(pair.guest)];
    const taken = new Promise<VsockStream>((resolve) => void host.listen(1, resolve));
    const asked = guest.connect(hostCid, 1);
    while (pair.carry());
    const ends = await Promise.all([asked, taken]);

    const piece = new Uint8Array(65_536).fill(0x5a);
    const total = 2 ** 32 + 3 * piece.length;
    const write = async (stream: VsockStream): Promise<void> => {
      for (let sent = 0; sent < total; sent += piece.length) await stream.write(piece);
      stream.end();
    };
    const read = async (stream: VsockStream): Promise<number> => {
      let received = 0;
      for await (const bytes of stream) received += bytes.length;
      return received;
    };
    let over = false;
    const all = Promise.all(ends.flatMap((stream) => [write(stream), read(stream)])).finally(() => {
      over = true;
    });
    while (!over) {
      pair.carry();
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
    expect((await all).filter((count) => count !== undefined)).toEqual([total, total]);
    while (pair.carry());
    await Promise.all(ends.map(({ closed }) => closed));
    // The counter came round.
    expect(pair.seen.some((count, at) => count < (pair.seen[at - 1] ?? 0))).toBe(true);
  });

  it('is not lost between two ends that both have no room and both ask', async () => {
    const pair = new Pair();
    const [host, guest] = [new Sockets(pair.host), new Sockets(pair.guest)];
    const taken = new Promise<VsockStream>((resolve) => void host.listen(1, resolve));
    const asked = guest.connect(hostCid, 1);
    while (pair.carry());
    const ends = await Promise.all([asked, taken]);
    const length = 2 ** 20;
    const written = Promise.all(ends.map((stream) => stream.write(new Uint8Array(length))));
    // They come to rest: neither reads, and neither asks again and again.
    while (pair.carry());
    const counts = await Promise.all(
      ends.map(async (stream) => {
        let received = 0;
        while (received < length) {
          const next = stream.read();
          await idle();
          pair.carry();
          received += (await next)?.length ?? 0;
        }
        return received;
      }),
    );
    expect(counts).toEqual([length, length]);
    await written;
  });

  it('is whole when the peer answers within the call that asks it', async () => {
    const pair = new Pair(true);
    const [host, guest] = [new Sockets(pair.host), new Sockets(pair.guest)];
    host.listen(1, async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      stream.end();
    });
    const stream = await guest.connect(hostCid, 1);
    const sent = pattern(2_000_000);
    const written = stream.write(sent);
    stream.end();
    let at = 0;
    for await (const bytes of stream) {
      expect(difference(bytes, sent, at)).toBeUndefined();
      at += bytes.length;
    }
    expect(at).toBe(sent.length);
    await written;
    await stream.closed;
    expect([pair.host.hasNext, pair.guest.hasNext]).toEqual([false, false]);
  });

  it('reset by both ends at once leaves nothing behind', async () => {
    const pair = new Pair();
    const [host, guest] = [new Sockets(pair.host), new Sockets(pair.guest)];
    const taken = new Promise<VsockStream>((resolve) => void host.listen(1, resolve));
    const asked = guest.connect(hostCid, 1);
    while (pair.carry());
    const [mine, theirs] = await Promise.all([asked, taken]);
    mine.reset();
    theirs.reset();
    while (pair.carry());
    expect([pair.host.hasNext, pair.guest.hasNext]).toEqual([false, false]);

    const refused = guest.connect(hostCid, 2);
    while (pair.carry());
    await expect(refused).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    expect(pair.host.mayReceive).toBe(true);
  });
});
