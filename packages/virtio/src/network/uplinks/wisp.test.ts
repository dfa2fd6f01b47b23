import { describe, expect, it } from 'vitest';
import { addressOf, decode, encode, stationOver, textOf } from './joined.fixture.ts';
import { type WebSocketLike, type WispOptions, wispUplink } from './wisp.ts';

type Listener = (event: { readonly data?: unknown }) => void;

/** A server of the protocol behind a socket, as a test plays it. */
class Server implements WebSocketLike {
  binaryType = '';
  closed = false;
  readonly packets: { readonly kind: number; readonly id: number; readonly payload: Uint8Array }[] = [];
  onPacket: ((kind: number, id: number, payload: Uint8Array) => void) | undefined;
  readonly #listeners = new Map<string, Listener>();

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, listener);
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    const view = new DataView(data.buffer);
    const packet = { kind: data[0]!, id: view.getUint32(1, true), payload: data.slice(5) };
    this.packets.push(packet);
    this.onPacket?.(packet.kind, packet.id, packet.payload);
  }

  close(): void {
    this.closed = true;
  }

  say(kind: number, id: number, ...payload: number[]): void {
    const bytes = Uint8Array.of(kind, 0, 0, 0, 0, ...payload);
    new DataView(bytes.buffer).setUint32(1, id, true);
    // As a real socket: never from within a call of its user's.
    void Promise.resolve().then(() => this.#listeners.get('message')?.({ data: bytes.buffer }));
  }

  lose(): void {
    this.#listeners.get('close')?.({});
  }
}

const [connect, data, more, close] = [1, 2, 3, 4];

async function joined(options: Partial<WispOptions> = {}, credit = 4) {
  const servers: Server[] = [];
  const open = (): Server => {
    const server = new Server();
    server.say(more!, 0, credit, 0, 0, 0);
    servers.push(server);
    return server;
  };
  const station = stationOver(wispUplink({ open, ...options }));
  return { station, servers, address: await addressOf(station, 'example.org') };
}

/** Lets all that waits for nothing happen, timers of a millisecond included. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('the world by Wisp', () => {
  it('opens a stream to a name, and carries bytes both ways', async () => {
    const { station, servers, address } = await joined();
    const stream = await station.connect(address, 443);
    const server = servers[0]!;
    expect([server.binaryType, server.packets.length]).toEqual(['arraybuffer', 1]);
    const { kind, id, payload } = server.packets[0]!;
    expect([kind, decode(payload)]).toEqual([connect, `\x01\xbb\x01example.org`]);
    server.onPacket = (_kind, _id, bytes) => {
      server.say(data!, id, ...encode(decode(bytes).toUpperCase()));
      server.say(close!, id, 2);
    };
    await stream.write(encode('hello'));
    stream.end();
    expect(await textOf(stream)).toBe('HELLO');
  });

  it('waits for the server to take more', async () => {
    const { station, servers, address } = await joined({}, 2);
    const stream = await station.connect(address, 80);
    const server = servers[0]!;
    const { id } = server.packets[0]!;
    void stream.write(new Uint8Array(1 << 20)).catch(() => {});
    await until(() => server.packets.length === 3);
    const sent = (): number => server.packets.filter(({ kind }) => kind === data).length;
    expect(sent()).toBe(2);
    let credit = 2;
    server.onPacket = () => {
      credit = Math.max(0, credit - 1);
    };
    const bytes = (): number =>
      server.packets.reduce((sum, packet) => sum + (packet.kind === data ? packet.payload.length : 0), 0);
    while (bytes() < 1 << 20) {
      const before = sent();
      server.say(more!, id, 2, 0, 0, 0);
      await until(() => sent() > before || bytes() === 1 << 20);
      expect(sent() - before).toBeLessThanOrEqual(2);
    }
    expect(bytes()).toBe(1 << 20);
    stream.reset();
    await until(() => server.packets.at(-1)?.kind === close);
  });

  it.each([
    ['refused', 0x44],
    ['blocked', 0x48],
    ['lost', 0x03],
  ])('resets a stream that was %s', async (_, reason) => {
    const { station, servers, address } = await joined();
    const stream = await station.connect(address, 80);
    servers[0]!.say(close!, servers[0]!.packets[0]!.id, reason);
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('holds no more for a guest that does not read than it may', async () => {
    const { station, servers, address } = await joined({ mostHeld: 100_000 });
    const stream = await station.connect(address, 80);
    const server = servers[0]!;
    const { id } = server.packets[0]!;
    for (let count = 0; count < 200; count++) server.say(data!, id, ...new Uint8Array(16_384));
    await until(() => server.packets.length > 1);
    expect(server.packets[1]).toMatchObject({ kind: close, id });
    await stream.closed;
  });

  it('loses all streams with the server, and finds it again for the next', async () => {
    const { station, servers, address } = await joined();
    const stream = await station.connect(address, 80);
    servers[0]!.lose();
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    await station.connect(address, 80);
    expect(servers).toHaveLength(2);
  });

  it('tells guests that there is no server', async () => {
    const open = (): Server => {
      const server = new Server();
      void Promise.resolve().then(() => server.lose());
      return server;
    };
    const { station, address } = await joined({ open });
    await expect(station.connect(address, 80)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('ignores what makes no sense', async () => {
    const { station, servers, address } = await joined();
    const stream = await station.connect(address, 80);
    const server = servers[0]!;
    const { id } = server.packets[0]!;
    server.say(data!, 12_345, 1, 2, 3);
    server.say(close!, 12_345);
    server.say(more!, id);
    server.say(99, id);
    server.say(data!, id, ...encode('still there'));
    expect(decode((await stream.read()) ?? new Uint8Array())).toBe('still there');
    stream.reset();
  });

  it('carries datagrams where the server does', async () => {
    const { station, servers } = await joined({ datagrams: true });
    const heard = new Promise((resolve) => {
      const socket = station.socket(5000, (bytes, address, port) => resolve([decode(bytes), address, port]));
      // The first is lost while the server is not there yet.
      const again = setInterval(() => socket.send(encode('ping'), '192.0.2.1', 123), 2);
      void until(() => servers[0]?.packets.some(({ kind }) => kind === data) === true).then(() => {
        clearInterval(again);
        const { id, payload } = servers[0]!.packets[0]!;
        expect(decode(payload)).toBe('\x02\x7b\x00192.0.2.1');
        servers[0]!.say(data!, id, ...encode('pong'));
      });
    });
    expect(await heard).toEqual(['pong', '192.0.2.1', 123]);
  });
});
