import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Endpoint, finished, type Link, noOffloads } from 'virtio/link';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { longestFrame } from './frame-stream.ts';
import { connectStream, listenStream } from './index.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-stream-'));
  path = join(folder, 'net');
});
afterEach(() => rm(folder, { recursive: true }));

/** The other end of an endpoint's link: it keeps what comes while it has room. */
class OtherEnd implements Link {
  readonly up = true;
  readonly takes = noOffloads;
  readonly frames: Buffer[] = [];
  /** Frames for which there is room. */
  credit = Infinity;
  rooms = 0;
  #hasRoom = (): void => {};
  readonly endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
    endpoint.attached(this);
  }

  send(frame: Uint8Array): boolean {
    if (this.credit === 0) return false;
    this.credit--;
    this.frames.push(Buffer.from(frame));
    return true;
  }

  room(): void {
    this.rooms++;
    this.#hasRoom();
  }

  /** Gives a frame, when there is room for it. */
  async give(frame: Uint8Array): Promise<void> {
    for (;;) {
      const room = new Promise<void>((resolve) => {
        this.#hasRoom = resolve;
      });
      if (this.endpoint.receive(frame, finished)) return;
      await room;
    }
  }
}

const sizes = [14, 60, 1514, 9014, 65_549, longestFrame];

/** A program at the other end, which says and hears bytes. */
async function peer(listening: Promise<unknown> | undefined, server: Server): Promise<Socket> {
  const taken = once(server, 'connection');
  await listening;
  const [socket] = await taken;
  return socket;
}

const framed = (frame: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(4 + frame.length);
  bytes.writeUInt32BE(frame.length);
  bytes.set(frame, 4);
  return bytes;
};

describe('a stream socket of frames', () => {
  it.each([
    ['a Unix socket', () => ({ path })],
    ['TCP', () => ({ host: '127.0.0.1', port: 0 })],
  ])('carries frames of every size both ways over %s', async (_, place) => {
    const joined: OtherEnd[] = [];
    let left = 0;
    const listening = await listenStream(place(), (endpoint) => {
      joined.push(new OtherEnd(endpoint));
      return () => left++;
    });
    const at = listening.port === undefined ? { path } : { host: '127.0.0.1', port: listening.port };
    const client = await connectStream(at);
    const here = new OtherEnd(client.endpoint);
    const frames = Array.from({ length: 300 }, (_, index) => randomBytes(sizes[index % sizes.length] ?? 0));
    for (const frame of frames) await here.give(frame);
    await vi.waitFor(() => expect(joined[0]?.frames.length).toBe(frames.length), 30_000);
    expect(Buffer.concat(joined[0]?.frames ?? []).equals(Buffer.concat(frames))).toBe(true);
    for (const frame of frames) await joined[0]?.give(frame);
    await vi.waitFor(() => expect(here.frames.length).toBe(frames.length), 30_000);
    expect(Buffer.concat(here.frames).equals(Buffer.concat(frames))).toBe(true);
    client.close();
    await vi.waitFor(() => expect(left).toBe(1), 30_000);
    await listening.close();
    await listening.close();
    expect(existsSync(path)).toBe(false);
  });

  it('puts frames together however they are cut, and leaves out what is none', async () => {
    const server = createServer();
    server.listen(path);
    const connecting = connectStream({ path });
    const socket = await peer(connecting, server);
    const here = new OtherEnd((await connecting).endpoint);
    const frames = sizes.map((size) => randomBytes(size));
    const none = [new Uint8Array(0), new Uint8Array(13)];
    const bytes = Buffer.concat([...frames, ...none, ...frames].map(framed));
    // A cut behind each of the first bytes, and then pieces of a length that goes with nothing.
    for (let at = 0; at < bytes.length; ) {
      const length = at < 200 ? 1 : 997;
      socket.write(bytes.subarray(at, at + length));
      at += length;
      if (at < 200) await new Promise(setImmediate);
    }
    await vi.waitFor(() => expect(here.frames.length).toBe(2 * frames.length), 30_000);
    expect(Buffer.concat(here.frames).equals(Buffer.concat([...frames, ...frames]))).toBe(true);
    socket.destroy();
    (await connecting).close();
    server.close();
  });

  it('holds back who sends while the link has no room, and loses nothing', async () => {
    let far: OtherEnd | undefined;
    const listening = await listenStream({ path }, (endpoint) => {
      far = new OtherEnd(endpoint);
      far.credit = 3;
      return () => {};
    });
    const client = await connectStream({ path });
    const here = new OtherEnd(client.endpoint);
    let given = 0;
    const total = 2000;
    const giving = (async () => {
      for (; given < total; given++) await here.give(Buffer.alloc(1514, given));
    })();
    await vi.waitFor(() => expect(here.rooms + given).toBeGreaterThan(100), 30_000);
    // It stands still: three frames were taken, and what the buffers hold is on its way.
    for (let before = -1; before !== given; await new Promise((resolve) => setTimeout(resolve, 20))) {
      before = given;
    }
    expect(far?.frames.length).toBe(3);
    expect(given).toBeLessThan(total);
    if (far !== undefined) {
      far.credit = Infinity;
      far.endpoint.room();
    }
    await giving;
    await vi.waitFor(() => expect(far?.frames.length).toBe(total), 30_000);
    expect(far?.frames.every((frame, index) => frame[0] === (index & 255))).toBe(true);
    client.close();
    await listening.close();
  });

  it('hangs up on who sends what is no frame, and says why', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('GET / HTTP/1.1\r\n\r\n');
    });
    server.listen(path);
    let why: unknown;
    const client = await connectStream({ path }, { onDisconnected: (error) => (why = error) });
    new OtherEnd(client.endpoint);
    await vi.waitFor(() => expect(why).toBeDefined(), 30_000);
    expect(why).toMatchObject({ code: 'IO_ERROR', message: expect.stringMatching(/speaks something else/) });
    expect(client.connected).toBe(false);
    client.close();
    server.close();
  });

  it('connects again, and loses frames while nobody is there', async () => {
    const open = async () => {
      const ends: OtherEnd[] = [];
      const listening = await listenStream({ path }, (endpoint) => {
        ends.push(new OtherEnd(endpoint));
        return () => {};
      });
      return { ends, listening };
    };
    const first = await open();
    let connections = 0;
    let ended = 0;
    const client = await connectStream(
      { path },
      { reconnectAfter: 5, onConnected: () => connections++, onDisconnected: () => ended++ },
    );
    const here = new OtherEnd(client.endpoint);
    await here.give(Buffer.alloc(60, 1));
    await vi.waitFor(() => expect(first.ends[0]?.frames.length).toBe(1), 30_000);
    await first.listening.close();
    await vi.waitFor(() => expect(ended).toBe(1), 30_000);
    for (let i = 0; i < 1000; i++) await here.give(Buffer.alloc(1514, 2));
    const second = await open();
    await vi.waitFor(() => expect(connections).toBe(2), 30_000);
    await here.give(Buffer.alloc(60, 3));
    await vi.waitFor(() => expect(second.ends[0]?.frames.length).toBe(1), 30_000);
    expect(second.ends[0]?.frames[0]).toEqual(Buffer.alloc(60, 3));
    client.close();
    await second.listening.close();
  });

  it('says what is in the way', async () => {
    await expect(connectStream({ path })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(connectStream({ path: join(folder, 'x'.repeat(200)) })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    const listening = await listenStream({ path }, () => () => {});
    await expect(listenStream({ path }, () => () => {})).rejects.toMatchObject({ code: 'IN_USE' });
    await listening.close();
  });
});
