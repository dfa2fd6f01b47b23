import fc from 'fast-check';
import { blkDevice, openBlk } from 'virtio/devices/blk';
import { HostError } from 'virtio/errors';
import { Loopback } from 'virtio/transports/loopback';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { pattern as patternOf } from '../pattern.fixture.ts';
import { openNbd } from './nbd-storage.ts';
import {
  type Behaviour,
  dataAt,
  errorOf,
  FixtureServer,
  holeAt,
  optionReply,
  simpleReply,
  structuredChunk,
} from './server.fixture.ts';
import { isNbdUri, parseNbdUri } from './uri.ts';

const servers: FixtureServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

const pattern = (length: number, seed = 0): Buffer => Buffer.from(patternOf(length, seed).buffer);

const size = 2 ** 20;

async function serve(behaviour: Behaviour = {}, bytes: Buffer = pattern(size)): Promise<FixtureServer> {
  const server = await FixtureServer.start(bytes, behaviour);
  servers.push(server);
  return server;
}

describe('the address of an export', () => {
  it.each([
    ['nbd://host', { socket: { host: 'host', port: 10_809 }, exportName: '' }],
    ['nbd://host:1234/a%20b/c', { socket: { host: 'host', port: 1234 }, exportName: 'a b/c' }],
    ['nbd://[::1]/x', { socket: { host: '::1', port: 10_809 }, exportName: 'x' }],
    ['nbd+unix:///x?socket=/run/s', { socket: { path: '/run/s' }, exportName: 'x' }],
    ['nbd+unix://?socket=/run/s', { socket: { path: '/run/s' }, exportName: '' }],
    ['nbds://host', { socket: { host: 'host', port: 10_809 }, exportName: '', encrypted: true }],
    [
      'nbds+unix:///x?socket=/run/s&tls-certificates=/etc/keys&tls-hostname=disks&x-reconnect-for=30',
      {
        ...{ socket: { path: '/run/s' }, exportName: 'x', encrypted: true },
        ...{ tlsCertificates: '/etc/keys', tlsHostname: 'disks', reconnectFor: 30 },
      },
    ],
  ])('is read: %s', (uri, address) => {
    expect(isNbdUri(uri)).toBe(true);
    expect(parseNbdUri(uri)).toEqual({ encrypted: false, ...address });
  });

  it.each([
    ['nbd://host/x?tls-hostname=y', /the scheme says none/],
    ['nbd://host/x?tls=y', /unknown parameter tls/],
    ['nbd://host/x?x-reconnect-for=soon', /no number of seconds/],
    ['nbd+tcp://host/x', /no address/],
    ['nbd+unix:///x', /socket is missing/],
    ['nbd:///x', /no address/],
    ['nbd://host/%', /no URI/],
    ['nbd://user@host/x', /users of NBD/],
    ['http://host/', /no address/],
  ])('is refused, with what to give: %s', (uri, message) => {
    const refused = expect.objectContaining({
      code: 'BAD_ARGUMENT',
      message: expect.stringMatching(message),
    });
    expect(() => parseNbdUri(uri)).toThrow(refused);
  });
});

describe.each<[string, Behaviour]>([
  ['structured replies', {}],
  ['simple replies', { structured: false }],
  ['no NBD_OPT_GO', { go: false }],
  ['blocks of 4 KiB', { blockSizes: [4096, 4096, 65_536] }],
  ['payloads of 1536 bytes', { blockSizes: [1, 1024, 1536] }],
])('an export of a server with %s', (_what, behaviour) => {
  it('is a disk to a driver', async () => {
    const server = await serve(behaviour);
    const storage = await openNbd(server.uri);
    expect(storage).toMatchObject({ size, readOnly: false, immediate: false, sparse: true });
    const disk = await openBlk(new Loopback(blkDevice({ storage })));
    const expected = pattern(size);
    for (const [sector, count] of [
      [0, 1],
      [7, 9],
      [513, 1024],
      [2047, 1],
    ] as const) {
      const data = pattern(count * 512, sector);
      await disk.write(sector, data);
      expected.set(data, sector * 512);
    }
    await disk.writeZeroes(1600, 21, { unmap: true });
    await disk.writeZeroes(1700, 1);
    expected.fill(0, 1600 * 512, 1621 * 512).fill(0, 1700 * 512, 1701 * 512);
    await disk.flush();
    expect(expected.equals(await disk.read(0, 2048))).toBe(true);
    await disk.discard(1800, 100);
    await disk.close();
    await storage.close();
    expect(server.bytes.subarray(0, 1800 * 512).equals(expected.subarray(0, 1800 * 512))).toBe(true);
    expect(server.requests.at(-1)?.type).toBe(2);
    const [least, , most] = behaviour.blockSizes ?? [1, 512, 2 ** 25];
    for (const { type, offset, length } of server.requests) {
      if (type === 2 || type === 3) continue;
      expect([offset % least, length % least, length > most]).toEqual([0, 0, false]);
    }
    await vi.waitFor(() => expect(server.connections).toBe(0));
  });

  it('does what a plain array does, when writes share blocks', async () => {
    const write = fc.record({
      sector: fc.nat(127),
      count: fc.integer({ min: 1, max: 30 }),
      seed: fc.nat(255),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(write, { maxLength: 8 }), async (writes) => {
        const server = await serve(behaviour, pattern(65_536));
        const storage = await openNbd(server.uri);
        const expected = pattern(65_536);
        const taken = new Set<number>();
        await Promise.all(
          writes.map(async ({ sector, count, seed }) => {
            const sectors = Array.from({ length: count }, (_, i) => sector + i);
            if (sector + count > 128 || sectors.some((one) => taken.has(one))) return;
            for (const one of sectors) taken.add(one);
            const data = pattern(count * 512, seed);
            expected.set(data, sector * 512);
            await storage.write(sector * 512, data);
          }),
        );
        await storage.close();
        expect(server.bytes.equals(expected)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });
});

it('lets no write of a part of a block bring back what is zeroed meanwhile', async () => {
  const server = await serve({ blockSizes: [4096, 4096, 65_536] }, pattern(65_536));
  const storage = await openNbd(server.uri);
  // They overlap, so of one sector either may be there; of the rest of the block nothing that was.
  await Promise.all([storage.write(512, pattern(512, 9)), storage.writeZeroes?.(0, 4096, false)]);
  await storage.close();
  expect(server.bytes.subarray(0, 512).equals(Buffer.alloc(512))).toBe(true);
  expect(server.bytes.subarray(1024, 4096).equals(Buffer.alloc(3072))).toBe(true);
});

it('writes through where no flush can be asked for', async () => {
  const server = await serve({ flags: 0x6d & ~4 });
  const storage = await openNbd(server.uri);
  await storage.write(0, new Uint8Array(512));
  await storage.flush();
  await storage.close();
  expect(server.requests.map(({ type, flags }) => [type, flags])).toEqual([
    [1, 1],
    [2, 0],
  ]);
});

it('offers no more than the server does', async () => {
  const server = await serve({ flags: 3 });
  const storage = await openNbd(server.uri);
  expect(storage).toMatchObject({ readOnly: true, sparse: false });
  expect(storage.discard).toBeUndefined();
  expect(storage.writeZeroes).toBeUndefined();
  await storage.flush();
  await storage.close();
});

it('puts answers together that come in pieces, in any order, with holes', async () => {
  const server = await serve({
    onRequest: ({ type, cookie, offset, length }) => {
      if (type !== 0) return undefined;
      const half = length / 2;
      return Buffer.concat([
        structuredChunk(cookie, 0, 2, holeAt(offset + half, half)),
        structuredChunk(cookie, 0, 1, dataAt(offset, pattern(half, 5))),
        structuredChunk(cookie, 1, 0, Buffer.alloc(0)),
      ]);
    },
  });
  const storage = await openNbd(server.uri);
  const bytes = Buffer.alloc(4096, 1);
  await storage.read(8192, bytes);
  expect(bytes.equals(Buffer.concat([pattern(2048, 5), Buffer.alloc(2048)]))).toBe(true);
  await storage.close();
});

describe('a request that the server refuses', () => {
  it.each<[string, boolean]>([
    ['simple', false],
    ['structured', true],
  ])('fails alone, and says why: %s replies', async (_what, structured) => {
    const server = await serve({
      structured,
      onRequest: ({ type, cookie, offset }) => {
        if (offset !== 512) return undefined;
        const code = type === 0 ? 5 : 28;
        if (!structured) return simpleReply(cookie, code);
        return structuredChunk(cookie, 1, 0x8001, errorOf(code, 'no \u001b[31mroom'));
      },
    });
    const reported: HostError[] = [];
    const storage = await openNbd(server.uri);
    const disk = await openBlk(
      new Loopback(blkDevice({ storage, onError: (error) => reported.push(error) })),
    );
    await expect(disk.read(1, 1)).rejects.toMatchObject({ status: 'IOERR' });
    await expect(disk.write(1, new Uint8Array(512))).rejects.toMatchObject({ status: 'IOERR' });
    expect(Buffer.from(await disk.read(2, 1)).equals(pattern(size).subarray(1024, 1536))).toBe(true);
    expect(reported.map(({ code }) => code)).toEqual(['IO_ERROR', 'NO_SPACE']);
    const said = structured ? ' (no  [31mroom)' : '';
    expect(reported[1]?.message).toBe(`${server.uri}: NBD_CMD_WRITE at 512 failed: NBD_ENOSPC${said}`);
    await disk.close();
    await storage.close();
  });
});

const broken = (message: RegExp): object => ({
  name: 'HostError',
  code: 'IO_ERROR',
  message: expect.stringMatching(message),
});

describe('a handshake that goes wrong', () => {
  const option = (number: number, answer: Buffer): Behaviour => ({
    onOption: (found) => (found === number ? answer : undefined),
  });
  const exportInfo = (bytes: Buffer): Behaviour =>
    option(7, Buffer.concat([optionReply(7, 3, bytes), optionReply(7, 1)]));
  it.each<[string, Behaviour, object]>([
    ['another protocol', { greeting: Buffer.from('SSH-2.0-OpenSSH_9.2 and so on') }, broken(/no NBD server/)],
    [
      'the old style',
      { greeting: Buffer.from('4e42444d414749430000420281861253 0000'.replace(' ', ''), 'hex') },
      broken(/too old/),
    ],
    ['no fixed newstyle', { greeting: Buffer.from('NBDMAGICIHAVEOPT\0\0', 'latin1') }, broken(/too old/)],
    ['a reply to another option', option(8, optionReply(9, 1)), broken(/no reply to option 8/)],
    ['garbage for a reply', option(8, Buffer.alloc(20, 0xaa)), broken(/no reply to option 8/)],
    [
      'a reply of 4 GiB',
      option(8, Buffer.from('0003e889045565a90000000800000001ffffffff', 'hex')),
      broken(/4294967295/),
    ],
    ['a reply without sense', option(8, optionReply(8, 3)), broken(/type 3/)],
    [
      'replies without end',
      option(7, Buffer.concat(Array.from({ length: 80 }, () => optionReply(7, 3, Buffer.alloc(4))))),
      broken(/no end|NBD_INFO_EXPORT/),
    ],
    ['no export information', option(7, optionReply(7, 1)), broken(/no NBD_INFO_EXPORT/)],
    ['export information that is short', exportInfo(Buffer.alloc(5)), broken(/of 5 bytes/)],
    ['no flags', { flags: 0 }, broken(/HAS_FLAGS/)],
    ['blocks of 3 bytes', { blockSizes: [3, 512, 4096] }, broken(/block sizes/)],
    ['blocks of 1 MiB', { blockSizes: [2 ** 20, 2 ** 20, 2 ** 20] }, broken(/block sizes/)],
    ['a payload below a block', { blockSizes: [1, 4096, 512] }, broken(/block sizes/)],
    ['more bytes than can be', { size: 2n ** 63n }, { code: 'BAD_IMAGE' }],
    ['less than a sector', { size: 100n }, { code: 'BAD_IMAGE' }],
    [
      'no such export',
      option(7, optionReply(7, 2 ** 31 + 6, Buffer.from('never heard of'))),
      { code: 'NOT_FOUND', message: expect.stringMatching(/"disk": never heard of/) },
    ],
    ['TLS', option(7, optionReply(7, 2 ** 31 + 5)), broken(/wants TLS/)],
    ['a policy', option(7, optionReply(7, 2 ** 31 + 2)), broken(/NBD_REP_ERR_POLICY/)],
  ])('is refused, and the connection closed: %s', async (_what, behaviour, failure) => {
    const server = await serve(behaviour);
    await expect(openNbd(server.uri)).rejects.toMatchObject(failure);
    await vi.waitFor(() => expect(server.connections).toBe(0));
  });

  it('is given up when the server says nothing', async () => {
    const server = await serve({ greeting: Buffer.alloc(0) });
    await expect(openNbd(server.uri, { patience: 50 })).rejects.toMatchObject(broken(/does not answer/));
  });

  it.each<[string, Behaviour, RegExp]>([
    [
      'has none',
      option(5, optionReply(5, 2 ** 31 + 2, Buffer.from('no'))),
      /no TLS \(NBD_REP_ERR_POLICY\): no/,
    ],
    [
      'says more than it may before it',
      option(5, Buffer.concat([optionReply(5, 1), optionReply(8, 1)])),
      /speaks before the handshake of TLS/,
    ],
    ['speaks no TLS', option(5, Buffer.concat([optionReply(5, 1)])), /no TLS with the server/],
  ])('is refused where TLS is asked for of a server that %s', async (what, behaviour, message) => {
    const server = await serve({
      ...behaviour,
      // What comes after it is no option, and is answered by nonsense.
      ...(what === 'speaks no TLS' ? { afterTls: Buffer.alloc(64, 0x15) } : {}),
    });
    const uri = server.uri.replace('nbd', 'nbds');
    await expect(openNbd(uri)).rejects.toMatchObject(broken(message));
    await vi.waitFor(() => expect(server.connections).toBe(0));
    await expect(openNbd(server.uri, { tls: {} })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(openNbd(`${uri}&tls-certificates=/nonexistent`)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('neither ca-cert.pem nor client-cert.pem'),
    });
  });

  it('is not begun where nobody listens', async () => {
    await expect(openNbd('nbd+unix:///x?socket=/nonexistent/s')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a server that breaks the protocol', () => {
  const none = Buffer.alloc(0);
  it.each<[string, NonNullable<Behaviour['onRequest']>, RegExp]>([
    ['hangs up', () => 'hang up', /server is gone/],
    ['says garbage', () => Buffer.alloc(64, 0x55), /begins with 55555555/],
    ['answers nobody', () => simpleReply(77n, 0), /answer to nothing/],
    ['has long cookies', ({ cookie }) => simpleReply(cookie | (1n << 40n), 0), /answer to nothing/],
    [
      'is simple where it agreed not to be',
      ({ cookie, length }) => simpleReply(cookie, 0, Buffer.alloc(length)),
      /simple reply to a read/,
    ],
    [
      'sends data before the range',
      ({ cookie, offset }) => structuredChunk(cookie, 1, 1, dataAt(offset - 512, Buffer.alloc(512))),
      /nobody asked for/,
    ],
    [
      'sends data behind the range',
      ({ cookie, offset, length }) =>
        structuredChunk(cookie, 1, 1, dataAt(offset + length, Buffer.alloc(512))),
      /nobody asked for/,
    ],
    [
      'sends some bytes twice, and others never',
      ({ cookie, offset, length }) => {
        const half = dataAt(offset, Buffer.alloc(length / 2));
        return Buffer.concat([0, 1].map((last) => structuredChunk(cookie, last, 1, half)));
      },
      /got some of them twice/,
    ],
    [
      'sends data at 2^63',
      ({ cookie }) => structuredChunk(cookie, 1, 2, Buffer.from('800000000000000000000200', 'hex')),
      /nobody asked for/,
    ],
    [
      'sends a hole of 4 GiB',
      ({ cookie, offset }) => structuredChunk(cookie, 1, 2, holeAt(offset, 2 ** 32 - 1)),
      /nobody asked for/,
    ],
    [
      'sends a hole of nothing',
      ({ cookie, offset }) => structuredChunk(cookie, 1, 2, holeAt(offset, 0)),
      /nobody asked for/,
    ],
    [
      'sends too little',
      ({ cookie, offset }) => structuredChunk(cookie, 1, 1, dataAt(offset, Buffer.alloc(512))),
      /ended after 512/,
    ],
    [
      'sends bytes twice',
      ({ cookie, offset, length }) =>
        Buffer.concat(
          [0, 1].map((done) => structuredChunk(cookie, done, 1, dataAt(offset, Buffer.alloc(length - 512)))),
        ),
      /nobody asked for/,
    ],
    ['sends empty data', ({ cookie }) => structuredChunk(cookie, 1, 1, Buffer.alloc(8)), /data of 8 bytes/],
    ['sends an end that is none', ({ cookie }) => structuredChunk(cookie, 0, 0, none), /not the last/],
    [
      'sends an end with a payload',
      ({ cookie }) => structuredChunk(cookie, 1, 0, Buffer.alloc(4)),
      /empty chunk/,
    ],
    ['sends an unknown chunk', ({ cookie }) => structuredChunk(cookie, 1, 9, Buffer.alloc(4)), /type 9/],
    [
      'sends a short error',
      ({ cookie }) => structuredChunk(cookie, 1, 0x8001, Buffer.alloc(2)),
      /error of 2 bytes/,
    ],
    [
      'sends an error of 1 MiB',
      ({ cookie }) => structuredChunk(cookie, 1, 0x8001, Buffer.alloc(2 ** 20)),
      /error of 1048576 bytes/,
    ],
    [
      'sends an error without code',
      ({ cookie }) => structuredChunk(cookie, 1, 0x8001, Buffer.alloc(6)),
      /error that is none/,
    ],
    [
      'sends an error with a longer message',
      ({ cookie }) => structuredChunk(cookie, 1, 0x8001, Buffer.from('00000005ffff', 'hex')),
      /error that is none/,
    ],
  ])('is left, and every request fails from then on: it %s', async (_what, onRequest, message) => {
    const server = await serve({
      onRequest: (request) => (request.type === 0 ? onRequest(request) : undefined),
    });
    const storage = await openNbd(server.uri);
    const reported: HostError[] = [];
    const disk = await openBlk(
      new Loopback(blkDevice({ storage, onError: (error) => reported.push(error) })),
    );
    const both = [disk.read(8, 4), disk.read(16, 4)];
    for (const read of both) await expect(read).rejects.toMatchObject({ status: 'IOERR' });
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ status: 'IOERR' });
    await expect(Promise.resolve(storage.flush())).rejects.toMatchObject(broken(message));
    expect(reported.length).toBe(3);
    for (const error of reported) expect(error).toMatchObject(broken(message));
    await storage.close();
    await vi.waitFor(() => expect(server.connections).toBe(0));
  });

  it('leaves a server that shuts down, with a goodbye, and asks it for nothing more', async () => {
    const server = await serve({
      onRequest: ({ type, cookie }) =>
        type === 0 ? structuredChunk(cookie, 1, 2 ** 15 + 1, errorOf(108, 'going')) : undefined,
    });
    const storage = await openNbd(server.uri);
    const read = storage.read(0, Buffer.alloc(512));
    await expect(read).rejects.toMatchObject(broken(/NBD_ESHUTDOWN \(going\)/));
    await expect(storage.write(0, Buffer.alloc(512))).rejects.toMatchObject(broken(/shuts down/));
    await vi.waitFor(() => expect(server.connections).toBe(0));
    expect(server.requests.map(({ type }) => type)).toEqual([0, 2]);
    await storage.close();
  });

  it('with any answer at all, never does more than fail', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 4 }),
        async (answers) => {
          let count = 0;
          const server = await serve({
            onRequest: () => (count < answers.length ? Buffer.from(answers[count++]!) : 'hang up'),
          });
          const storage = await openNbd(server.uri);
          const settled = await Promise.allSettled(
            [0, 1, 2, 3, 4].map((i) => storage.read(i * 512, Buffer.alloc(512))),
          );
          for (const one of settled) {
            if (one.status === 'rejected') expect(one.reason).toBeInstanceOf(HostError);
          }
          await storage.close();
        },
      ),
      { numRuns: 40 },
    );
  });
});
