/**
 * What a hostile front end does to the processes of `virtio serve`, of each type: it lives, gives back what came over the
 * connection, and serves the next front end.
 */
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBlk } from 'virtio/devices/blk';
import { openConsole } from 'virtio/devices/console';
import { openEntropy } from 'virtio/devices/entropy';
import { type FuseOpcodeName, fs, fuse_in_header, fuseOpcode, fuseRequests, openFs } from 'virtio/devices/fs';
import { driverFeatures, headerLength, macText, net, openNet, virtio_net_hdr } from 'virtio/devices/net';
import { openVsock, socketType, virtio_vsock_hdr, vsock, vsockOp } from 'virtio/devices/vsock';
import type { OpenDevice, OpenQueue } from 'virtio/driver';
import { connect } from 'virtio/link';
import { Station } from 'virtio/network';
import {
  blkFixture,
  consoleFixture,
  entropyFixture,
  fsFixture,
  netFixture,
  vsockFixture,
} from 'virtio/testing';
import type { VhostUserTransport } from 'virtio/vhost-user';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { endAll } from './cli-command.ts';
import {
  breaks,
  brokenMessages,
  brokenRings,
  Chance,
  dyingSockets,
  raw,
  ServedProcess,
  unreasonableMessages,
} from './hostile-front-end.ts';
import { freePort } from './net-servers.ts';

/** Milliseconds: far more than anything here takes on a slow machine. */
const patience = 120_000;
/** Requests that are made up, of each kind. */
const rounds = 2000;
const guestCid = 42;

const folder = mkdtempSync(join(tmpdir(), 'virtio-hostile-'));
const capture = join(folder, 'frames.pcapng');
let port: number;
const echo: Server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {});
  socket.pipe(socket);
});

beforeAll(async () => {
  await mkdir(join(folder, 'shared'));
  await writeFile(join(folder, 'shared', 'file'), 'content');
  await writeFile(join(folder, 'secret'), 'of the host');
  await writeFile(join(folder, 'disk'), new Uint8Array(2 ** 20));
  port = await freePort();
  await once(echo.listen(join(folder, 'ports_1024')), 'listening');
});
afterAll(async () => {
  endAll();
  echo.close();
  await rm(folder, { recursive: true });
});

const served = {
  blk: new ServedProcess(
    blkFixture,
    join(folder, 'blk.sock'),
    () => ['--blk-file', join(folder, 'disk')],
    async (transport) => {
      const disk = await openBlk(transport);
      await disk.write(0, new Uint8Array(512).fill(7));
      expect(await disk.read(0, 1)).toEqual(new Uint8Array(512).fill(7));
      await disk.close();
    },
  ),
  console: new ServedProcess(
    consoleFixture,
    join(folder, 'console.sock'),
    () => [],
    async (transport) => {
      const opened = await openConsole(transport);
      await (await opened.port(0)).write(Uint8Array.of(1));
      await opened.close();
    },
  ),
  entropy: new ServedProcess(
    entropyFixture,
    join(folder, 'entropy.sock'),
    () => [],
    async (transport) => {
      const source = await openEntropy(transport);
      expect(await source.read(100)).toHaveLength(100);
      await source.close();
    },
  ),
  net: new ServedProcess(
    netFixture,
    join(folder, 'net.sock'),
    () => ['--net', `user,restrict,forward=tcp:${port}:80`, '--capture', capture],
    async (transport) => void (await talk(transport)),
  ),
  fs: new ServedProcess(
    fsFixture,
    join(folder, 'fs.sock'),
    () => ['--shared-dir', join(folder, 'shared')],
    async (transport) => {
      const files = await openFs(transport);
      expect(Buffer.from(await files.readFile('/file')).toString()).toBe('content');
      await files.close();
    },
  ),
  vsock: new ServedProcess(
    vsockFixture,
    join(folder, 'vsock.sock'),
    () => ['--uds-path', join(folder, 'ports'), '--guest-cid', `${guestCid}`],
    async (transport) => {
      const guest = await openVsock(transport);
      const stream = await guest.connect(1024);
      await stream.write(Buffer.from('hello'));
      stream.end();
      expect(Buffer.from((await stream.read()) ?? []).toString()).toBe('hello');
      await guest.close();
    },
  ),
};

/** A host behind the card is found by its network, and reached from outside; the frames that it sent. */
async function talk(transport: VhostUserTransport): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  const card = await openNet(transport);
  const station = new Station({ mac: macText(card.mac) });
  const cable = connect(station, card.endpoint, {
    watcher: { sent: (frame, _, own) => own && frames.push(frame.slice()), refused() {}, taken() {} },
  });
  station.listen(80, async (stream) => {
    for await (const bytes of stream) await stream.write(bytes);
    stream.end();
  });
  station.socket(68, () => {}).send(new Uint8Array(300).fill(1), '10.0.2.2', 67);
  station
    .socket(69, () => {})
    .send(Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1), '10.0.2.3', 53);
  for (const host of ['10.0.2.2', 'fec0::2']) await station.ping(host, Uint8Array.of(1, 2, 3));
  const socket = createConnection(port, '127.0.0.1');
  socket.end('hello');
  const heard: Buffer[] = [];
  for await (const piece of socket) heard.push(piece);
  expect(Buffer.concat(heard).toString()).toBe('hello');
  cable.close();
  station.close();
  await card.close();
  return frames;
}

const lies: Partial<Record<keyof typeof served, () => Promise<void>>> = {
  async net(): Promise<void> {
    const options = {
      features: driverFeatures,
      queues: () => [
        { name: 'receiveq' as const },
        { name: 'transmitq' as const },
        { name: 'controlq' as const },
      ],
    };
    const transport = await served.net.connect();
    const frames = await talk(transport);
    await transport.close();
    expect(frames.length).toBeGreaterThan(10);
    const chance = new Chance(1);
    const [sizes, bytes] = [
      [0, 1, 14, 20, 34, 54, 1000, 0xffff],
      [0, 1, 2, 4, 0x80, 0xff],
    ];
    await raw(served.net, net, options, async (opened) => {
      const [receive, transmit, control] = [
        opened.queue('receiveq'),
        opened.queue('transmitq'),
        opened.queue('controlq'),
      ];
      for (let i = 0; i < 8; i++) receive.request(new Uint8Array(), 2048).catch(() => {});
      const length = headerLength((feature) => opened.has(feature));
      for (let round = 0; round < rounds; round++) {
        const seed = chance.of(frames);
        const frame = new Uint8Array(
          chance.of([seed.length, seed.length, chance.below(seed.length + 1), 9000]),
        );
        frame.set(seed.subarray(0, frame.length));
        for (let i = chance.below(4); i > 0 && frame.length > 14; i--) {
          frame[14 + chance.below(frame.length - 14)] = chance.of([...bytes, chance.below(256)]);
        }
        const isWhole = round % 4 === 0;
        const header = virtio_net_hdr
          .encode({
            flags: isWhole ? 0 : chance.of([...bytes, chance.below(256)]),
            gso_type: isWhole ? 0 : chance.of([0, 1, 3, 4, 5, 0x20, 0x21, 0x60, 0x81, 0xff]),
            hdr_len: chance.of(sizes),
            gso_size: chance.of(sizes),
            csum_start: chance.of([...sizes, frame.length, frame.length - 1]) & 0xffff,
            csum_offset: chance.of([...sizes, 6, 16]),
            num_buffers: chance.of(sizes),
          })
          .subarray(0, length);
        // What cannot be is dropped, and its buffer comes back all the same.
        await transmit.request(Buffer.concat([header, frame]), 0);
        if (round % 10 === 0) {
          const [answer] = await control.request(chance.bytes(2 + chance.below(40)), 1 + chance.below(600));
          expect(answer).toBeTypeOf('number');
        }
      }
    });
    const transmit = (opened: OpenDevice<typeof net>): OpenQueue => opened.queue('transmitq');
    await breaks(served.net, net, options, transmit, new Uint8Array(100), 100);
    await breaks(served.net, net, options, (opened) => opened.queue('controlq'), new Uint8Array(1), 0);
  },

  async fs(): Promise<void> {
    const options = {
      features: [],
      queues: () => [{ name: 'hiprio' as const }, { name: 'requestq' as const }],
    };
    // The table has no other keys.
    const names = Object.keys(fuseRequests) as FuseOpcodeName[];
    const answered = names.filter((name) => fuseRequests[name].silent !== true && name !== 'DESTROY');
    const chance = new Chance(2);
    let unique = 1n;
    const request = (opcode: number, nodeid: number, body: Uint8Array, lie?: number): Uint8Array => {
      const len = lie ?? fuse_in_header.size + body.length;
      return Buffer.concat([fuse_in_header.encode({ len, opcode, nodeid, unique: unique++ }), body]);
    };
    const init = request(fuseOpcode.INIT, 0, Uint8Array.of(7, 0, 0, 0, 45, 0, 0, 0, ...new Uint8Array(56)));
    await raw(served.fs, fs, options, async (opened) => {
      const queue = opened.queue('requestq');
      await queue.request(init, 4096);
      for (let round = 0; round < rounds; round++) {
        const opcode = round % 10 === 0 ? chance.below(70_000) : fuseOpcode[chance.of(answered)];
        const body = chance.bytes(chance.below(160)).map((byte) => (byte < 90 ? byte : byte & 3));
        const node = chance.of([0, 1, 1, 1, 2, 3, 77, 2 ** 53 - 1]);
        const lie = round % 7 === 0 ? chance.of([0, 39, 1000, 0xffff_ffff]) : undefined;
        const sent = request(opcode, node, body, lie);
        const answer = await queue.request(sent, 16 + chance.below(600));
        expect(new DataView(answer.buffer, answer.byteOffset).getUint32(0, true)).toBe(answer.length);
        if (opcode === fuseOpcode.INIT) await queue.request(init, 4096);
      }
      for (const name of ['..', '../secret', '/', '.', '', 'a/../../secret', 'x'.repeat(300)]) {
        const sent = request(fuseOpcode.LOOKUP, 1, Buffer.from(`${name}\0`));
        const answer = await queue.request(sent, 4096);
        expect(new DataView(answer.buffer, answer.byteOffset).getInt32(4, true)).toBeLessThan(0);
      }
    });
    expect(readFileSync(join(folder, 'secret'), 'utf8')).toBe('of the host');
    const queue = (opened: OpenDevice<typeof fs>): OpenQueue => opened.queue('requestq');
    await breaks(served.fs, fs, options, queue, new Uint8Array(39), 100);
    await breaks(served.fs, fs, options, queue, init, 15);
  },

  async vsock(): Promise<void> {
    const options = { features: ['STREAM', 'SEQPACKET', 'NO_IMPLIED_STREAM'] as const };
    const chance = new Chance(3);
    const encode = (fields: Parameters<typeof virtio_vsock_hdr.encode>[0], payload = new Uint8Array()) => {
      const ends = { src_cid: BigInt(guestCid), dst_cid: 2n, src_port: 1000, dst_port: 1024 };
      const rest = { type: socketType.STREAM, len: payload.length, buf_alloc: 2 ** 20 };
      return Buffer.concat([virtio_vsock_hdr.encode({ ...ends, ...rest, ...fields }), payload]);
    };
    await raw(served.vsock, vsock, options, async (opened) => {
      const [hear, send] = [opened.queue('rx'), opened.queue('tx')];
      const heard: number[] = [];
      const listen = async (): Promise<void> => {
        for (;;) {
          const bytes = await hear.request(new Uint8Array(), 4096);
          heard.push(virtio_vsock_hdr.read(new DataView(bytes.buffer, bytes.byteOffset)).op);
        }
      };
      const listening = Array.from({ length: 16 }, () => listen().catch(() => {}));
      const hears = (op: number): Promise<void> =>
        vi.waitFor(() => expect(heard).toContain(op), { timeout: patience, interval: 5 });
      // More than there is room for, to one who never grants credit.
      await send.request(encode({ op: vsockOp.REQUEST, buf_alloc: 0 }), 0);
      await hears(vsockOp.RESPONSE);
      for (let i = 0; i < 200 && !heard.includes(vsockOp.RST); i++) {
        await send.request(encode({ op: vsockOp.RW, buf_alloc: 0 }, new Uint8Array(16_384)), 0);
      }
      await hears(vsockOp.RST);
      for (let round = 0; round < rounds; round++) {
        const payload = new Uint8Array(chance.of([0, 0, 1, 100, 4096]));
        const packet = encode(
          {
            op: chance.of([0, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 0xffff]),
            type: chance.of([0, 1, 1, 1, 2, 2, 3, 0xffff]),
            src_port: 1000 + chance.below(5),
            dst_port: chance.of([1024, 1024, 1024, 1025, 0, 0xffff_ffff]),
            src_cid: chance.of([
              BigInt(guestCid),
              BigInt(guestCid),
              BigInt(guestCid),
              2n,
              0n,
              2n ** 64n - 1n,
            ]),
            dst_cid: chance.of([2n, 2n, 2n, 2n, 1n, 3n, 2n ** 64n - 1n]),
            flags: chance.of([0, 1, 2, 3, 0xffff_ffff]),
            buf_alloc: chance.of([0, 1, 2 ** 20, 0xffff_ffff]),
            fwd_cnt: chance.of([0, 1, 5000, 2 ** 31, 0xffff_ffff]),
          },
          payload,
        );
        await send.request(packet, 0);
      }
      await opened.close();
      await Promise.all(listening);
    });
    await raw(served.vsock, vsock, options, async (opened) => {
      const answer = opened.queue('rx').request(new Uint8Array(), 4096);
      await opened.queue('tx').request(encode({ op: vsockOp.REQUEST }), 0);
      await answer;
      const short = encode({ op: vsockOp.RW, len: 5000 }, new Uint8Array(3));
      await expect(opened.queue('tx').request(short, 0)).rejects.toMatchObject({
        code: 'DEVICE_NEEDS_RESET',
      });
    });
    const queue = (opened: OpenDevice<typeof vsock>): OpenQueue => opened.queue('tx');
    await breaks(served.vsock, vsock, options, queue, new Uint8Array(43), 0);
    await breaks(served.vsock, vsock, options, queue, encode({ op: vsockOp.REQUEST }), 100);
  },
};

describe.each(['blk', 'console', 'entropy', 'net', 'fs', 'vsock'] as const)(
  'the process of virtio serve %s',
  (name) => {
    const one = served[name];
    beforeAll(() => one.start());

    test('outlives broken rings', () => one.outlives(() => brokenRings(one)));
    test('outlives messages that are none', () => one.outlives(() => brokenMessages(one)));
    test('outlives front ends that die', () => one.outlives(() => dyingSockets(one)));

    test('outlives messages that ask for what cannot be', async () => {
      const kept: { close(): void }[] = [];
      try {
        await one.outlives(() => unreasonableMessages(one, kept));
      } finally {
        for (const peer of kept) peer.close();
      }
    });

    const lie = lies[name];
    if (lie !== undefined) test('outlives requests that lie', () => one.outlives(lie));

    test('ends in order', async () => {
      one.command.kill('SIGTERM');
      expect(await one.command.end()).toMatchObject({ status: 0 });
      expect(existsSync(one.socket)).toBe(false);
    });
  },
);

test('the capture of all that is whole', () => {
  const bytes = readFileSync(capture);
  let blocks = 0;
  // Each block has its length at both ends.
  for (let at = 0; at < bytes.length; blocks++) {
    const length = bytes.readUInt32LE(at + 4);
    expect(bytes.readUInt32LE(at + length - 4)).toBe(length);
    at += length;
  }
  expect(blocks).toBeGreaterThan(rounds / 2);
});
