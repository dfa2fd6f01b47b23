import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { pattern as patternOf } from '../pattern.fixture.ts';
import { type NbdStorage, openNbd } from './nbd-storage.ts';
import {
  type Behaviour,
  FixtureServer,
  type Request,
  simpleReply,
  structuredChunk,
} from './server.fixture.ts';
import { WriteLog } from './write-log.ts';

const servers: FixtureServer[] = [];
const opened: NbdStorage[] = [];
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
  for (const server of servers.splice(0)) await server.stop();
});

const size = 2 ** 18;
/** Milliseconds: as long as a test may take. */
const long = 60_000;
const [READ, WRITE, DISC, FLUSH, TRIM] = [0, 1, 2, 3, 4];

const pattern = (length: number, seed = 0): Buffer => Buffer.from(patternOf(length, seed).buffer);

async function serve(behaviour: Behaviour = {}, bytes: Buffer = pattern(size)): Promise<FixtureServer> {
  const server = await FixtureServer.start(bytes, behaviour);
  servers.push(server);
  return server;
}

async function open(server: FixtureServer, reconnectFor = long): Promise<NbdStorage> {
  const storage = await openNbd(server.uri, { reconnectFor });
  opened.push(storage);
  return storage;
}

async function restart(server: FixtureServer): Promise<void> {
  await server.die();
  await server.comeBack();
}

const bytesOf = async (storage: NbdStorage): Promise<Buffer> => {
  const bytes = Buffer.alloc(size);
  await storage.read(0, bytes);
  return bytes;
};

describe('a server that dies and comes back', () => {
  it('is sent again what was under way', async () => {
    let deaths = 0;
    const server = await serve({
      // The first that come are never answered.
      onRequest: ({ offset }) => (offset % 1024 === 512 && deaths++ < 3 ? 'hang up' : undefined),
    });
    const storage = await open(server);
    const read = Buffer.alloc(1024);
    await Promise.all([
      storage.read(512, read),
      storage.write(8704, pattern(512, 1)),
      storage.writeZeroes?.(16_896, 1024, false),
    ]);
    expect(deaths).toBeGreaterThan(2);
    expect(read.equals(pattern(size).subarray(512, 1536))).toBe(true);
    const expected = pattern(size);
    pattern(512, 1).copy(expected, 8704);
    expected.fill(0, 16_896, 17_920);
    expect((await bytesOf(storage)).equals(expected)).toBe(true);
  });

  it('is written again what it had answered and not flushed, in its order', async () => {
    const server = await serve();
    const storage = await open(server);
    await storage.write(0, pattern(512, 1));
    await storage.flush();
    const expected = Buffer.from(server.stable);
    await storage.write(512, pattern(1024, 2));
    await storage.write(1024, pattern(1024, 3));
    await storage.writeZeroes?.(1536, 256 * 2, true);
    pattern(512, 2).copy(expected, 512);
    pattern(512, 3).copy(expected, 1024);
    expected.fill(0, 1536, 2048);
    server.requests.length = 0;
    await restart(server);
    expect((await bytesOf(storage)).equals(expected)).toBe(true);
    expect(server.stable.equals(expected)).toBe(false);
    await storage.flush();
    expect(server.stable.equals(expected)).toBe(true);
    // What was flushed before is not sent again, and neither is any of it the next time.
    expect(server.requests.filter(({ type }) => type === WRITE).map(({ offset }) => offset)).toEqual([
      512, 1024,
    ]);
    server.requests.length = 0;
    await restart(server);
    await storage.flush();
    expect(server.requests.map(({ type }) => type)).toEqual([FLUSH]);
  });

  it('has flushed nothing that it forgot, when it dies in the middle of a flush', async () => {
    let deaths = 0;
    const server = await serve({
      onRequest: ({ type }) => (type === FLUSH && deaths++ < 2 ? 'hang up' : undefined),
    });
    const storage = await open(server);
    await storage.write(0, pattern(4096, 1));
    const flushed = storage.flush();
    await vi.waitFor(() => expect(deaths).toBeGreaterThan(0));
    await restart(server);
    await flushed;
    expect(server.stable.subarray(0, 4096).equals(pattern(4096, 1))).toBe(true);
  });

  it('loses nothing, whenever it dies', async () => {
    const step = fc.record({
      what: fc.constantFrom('write', 'write', 'zero', 'flush', 'die', 'hang up'),
      sector: fc.nat(500),
      count: fc.integer({ min: 1, max: 12 }),
      seed: fc.nat(255),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        let hangUp = false;
        const server = await serve({
          onRequest: () => {
            if (!hangUp) return undefined;
            hangUp = false;
            return 'hang up';
          },
        });
        const storage = await open(server);
        const expected = pattern(size);
        for (const { what, sector, count, seed } of steps) {
          const [offset, length] = [sector * 512, count * 512];
          if (what === 'die') await restart(server);
          else if (what === 'hang up') hangUp = true;
          else if (what === 'flush') {
            await storage.flush();
            expect(server.stable.equals(expected)).toBe(true);
          } else {
            const data = what === 'zero' ? Buffer.alloc(length) : pattern(length, seed);
            data.copy(expected, offset);
            if (what === 'zero') await storage.writeZeroes?.(offset, length, false);
            else await storage.write(offset, data);
          }
        }
        expect((await bytesOf(storage)).equals(expected)).toBe(true);
        await storage.close();
        await server.stop();
      }),
      { numRuns: 25 },
    );
  });

  it('takes no more than it says: it is left, and asked again elsewhere', async () => {
    let refused = 0;
    const server = await serve({
      structured: false,
      onRequest: ({ type, cookie }) =>
        type === WRITE && refused++ < 2 ? simpleReply(cookie, 108) : undefined,
    });
    const storage = await open(server);
    await storage.write(0, pattern(512, 1));
    expect(refused).toBe(3);
    // Each time with a goodbye, as the protocol has it.
    await vi.waitFor(() => expect(server.requests.filter(({ type }) => type === DISC)).toHaveLength(2), long);
    expect(server.bytes.subarray(0, 512).equals(pattern(512, 1))).toBe(true);
  });

  it('is found again by nobody who waits for nothing, and needs no request for it', async () => {
    const server = await serve();
    await open(server);
    await restart(server);
    await vi.waitFor(() => expect(server.connections).toBe(1), long);
  });
});

describe('what is kept until it is flushed', () => {
  it('is bounded: a flush of our own makes room', async () => {
    const most = 64;
    const server = await FixtureServer.start(Buffer.alloc(2 ** 20), {});
    servers.push(server);
    const storage = await open(server);
    const data = Buffer.alloc(2 ** 20);
    for (let i = 0; i < most + 2; i++) await storage.write(0, data);
    expect(server.requests.map(({ type }) => type).filter((type) => type === FLUSH)).toHaveLength(1);
  });

  it('counts its bytes, and forgets what was there when a flush began', () => {
    const log = new WriteLog(2000);
    log.add(WRITE, 0, 0, 1024, new Uint8Array(1024));
    const { end } = log;
    expect(log.isFull).toBe(false);
    log.add(TRIM, 0, 4096, 512, undefined);
    log.add(WRITE, 0, 1024, 1024, new Uint8Array(1024));
    expect(log.isFull).toBe(true);
    log.prune(end);
    log.prune(end);
    expect(log.isFull).toBe(false);
    expect(log.writes.map(({ offset }) => offset)).toEqual([4096, 1024]);
    log.prune(log.end);
    expect(log.writes).toEqual([]);
  });

  it('is a copy', async () => {
    const server = await serve();
    const storage = await open(server);
    const data = pattern(512, 1);
    await storage.write(0, data);
    data.fill(0xff);
    await restart(server);
    expect((await bytesOf(storage)).subarray(0, 512).equals(pattern(512, 1))).toBe(true);
  });
});

describe('every request fails, and says why,', () => {
  const failsFor = async (storage: NbdStorage, message: RegExp): Promise<void> => {
    const failure = { name: 'HostError', code: 'IO_ERROR', message: expect.stringMatching(message) };
    await expect(Promise.resolve(storage.read(0, Buffer.alloc(512)))).rejects.toMatchObject(failure);
    await expect(Promise.resolve(storage.flush())).rejects.toMatchObject(failure);
  };

  it('when the server does not come back in time', async () => {
    const server = await serve();
    const storage = await open(server, 100);
    await server.die();
    await failsFor(storage, /nobody listens there.*it did not come back/);
    await server.comeBack();
    await failsFor(storage, /it did not come back/);
  });

  it('when it is another disk', async () => {
    let isOther = false;
    const server = await serve({
      get size() {
        return BigInt(isOther ? size / 2 : size);
      },
    });
    const storage = await open(server);
    isOther = true;
    await restart(server);
    await failsFor(storage, /another disk/);
    expect(server.requests).toEqual([]);
  });

  it('when it does not take back what it had', async () => {
    let isFull = false;
    const server = await serve({
      structured: false,
      onRequest: ({ type, cookie }: Request) =>
        isFull && type === WRITE ? simpleReply(cookie, 28) : undefined,
    });
    const storage = await open(server);
    await storage.write(0, pattern(512, 1));
    isFull = true;
    await restart(server);
    await expect(Promise.resolve(storage.read(0, Buffer.alloc(512)))).rejects.toMatchObject({
      code: 'NO_SPACE',
    });
    await expect(Promise.resolve(storage.flush())).rejects.toMatchObject({ code: 'NO_SPACE' });
  });

  it('when it breaks the protocol: such a server is not asked again', async () => {
    const server = await serve({
      onRequest: ({ type, cookie }) =>
        type === READ ? structuredChunk(cookie, 1, 9, Buffer.alloc(4)) : undefined,
    });
    const storage = await open(server);
    await failsFor(storage, /broke the protocol/);
    expect(server.requests).toHaveLength(1);
  });

  it('when it is closed meanwhile', async () => {
    const server = await serve();
    const storage = await open(server);
    await server.die();
    const failed = failsFor(storage, /is closed/);
    await storage.close();
    await failed;
  });
});

it('is not had where nobody can know what is lost', async () => {
  const server = await serve({ flags: 1 });
  await expect(open(server)).rejects.toMatchObject({
    message: expect.stringMatching(/neither flushes nor FUA/),
  });
  await vi.waitFor(() => expect(server.connections).toBe(0));
  opened.push(await openNbd(server.uri, { reconnectFor: long, readOnly: true }));
});
