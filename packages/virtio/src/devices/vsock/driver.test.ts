import { describe, expect, it } from 'vitest';
import type { ActiveQueue } from '../../device/active-queue.ts';
import { type ActiveDevice, type Device, device } from '../../device/device.ts';
import { idle, pending } from '../../device/idle.fixture.ts';
import { HostError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import {
  type OpenVsock,
  openVsock,
  seqFlag,
  shutdownFlag,
  socketType,
  type VsockRequest,
  type VsockStream,
  virtio_vsock_event,
  vsock,
  vsockEvent,
  vsockOp,
} from './index.ts';
import { decodePacket, encodePacket, guestCid, none, type RawPacket } from './raw-guest.fixture.ts';

const { INVALID, REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST } = vsockOp;
const both = shutdownFlag.RECEIVE | shutdownFlag.SEND;
const octets = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (char) => char.charCodeAt(0));
const text = (bytes: Uint8Array | undefined): string | undefined => bytes && String.fromCharCode(...bytes);

/** A device that says what a test wants, right or wrong, and writes down what it hears. */
class Scripted {
  readonly heard: RawPacket[] = [];
  readonly device: Device<typeof vsock>;
  /** The tx queue is left alone unless this is set. */
  takes = true;
  #active: ActiveDevice<typeof vsock> | undefined;

  constructor(cid = BigInt(guestCid), offers: readonly OwnFeatureNameOf<typeof vsock>[] = vsock.ownFeatures) {
    this.device = device(vsock, {
      offers,
      config: { guest_cid: cid },
      activate: (active) => {
        this.#active = active;
      },
      available: { tx: (queue) => this.take(queue) },
    });
  }

  take(queue: ActiveQueue | undefined = this.#active?.queue('tx')): void {
    queue?.batch(() => {
      while (this.takes) {
        const chain = queue.take();
        if (chain === undefined) return;
        expect(chain.writable.length).toBe(0);
        this.heard.push(decodePacket(chain.readable.bytes(chain.readable.length)));
        queue.complete(chain);
      }
    });
  }

  /** Puts raw bytes in the next buffer of a queue; false when the driver has given none. */
  put(bytes: Uint8Array, name: 'rx' | 'event' = 'rx'): boolean {
    const queue = this.#active?.queue(name);
    const chain: Chain | undefined = queue?.take();
    if (queue === undefined || chain === undefined) return false;
    expect(chain.readable.length).toBe(0);
    chain.writable.write(bytes);
    queue.complete(chain);
    return true;
  }

  /** A packet from port 1024 of the host's to port 1000 of the guest's, unless told. */
  async say(fields: Parameters<typeof encodePacket>[0], payload = none): Promise<void> {
    const from = { src_cid: 2n, dst_cid: BigInt(guestCid), src_port: 1024, dst_port: 1000 };
    while (!this.put(encodePacket({ ...from, ...fields }, payload))) await idle();
    await idle();
  }

  event(): boolean {
    return this.put(virtio_vsock_event.encode({ id: vsockEvent.TRANSPORT_RESET }), 'event');
  }
}

async function connected(
  scripted: Scripted = new Scripted(),
): Promise<{ scripted: Scripted; opened: OpenVsock; stream: VsockStream }> {
  const opened = await openVsock(new Loopback(scripted.device));
  const taken = new Promise<VsockStream>((resolve) => void opened.listen(1000, resolve));
  await scripted.say({ op: REQUEST });
  expect(scripted.heard.pop()).toMatchObject({ op: RESPONSE, bufAlloc: 256 * 1024 });
  return { scripted, opened, stream: await taken };
}

describe('openVsock', () => {
  // @holds 5.10.3.1 driver: Device Types / Socket Device / Feature bits
  it.each([
    { offers: [], accepted: [], stream: true, seqpacket: false },
    { offers: ['STREAM'], accepted: ['STREAM'], stream: true, seqpacket: false },
    { offers: ['SEQPACKET'], accepted: ['SEQPACKET'], stream: true, seqpacket: true },
    {
      offers: ['SEQPACKET', 'NO_IMPLIED_STREAM'],
      accepted: ['SEQPACKET', 'NO_IMPLIED_STREAM'],
      stream: false,
      seqpacket: true,
    },
  ] as const)('uses what $offers stand for', async ({ offers, accepted, stream, seqpacket }) => {
    const scripted = new Scripted(BigInt(guestCid), offers);
    const transport = new Loopback(scripted.device);
    const opened = await openVsock(transport);
    const own = vsock.featureNames(transport.core.session.driverFeatures).filter((name) => name in own0);
    expect(own).toEqual(accepted);
    for (const [asked, has] of [
      [opened.connect(1), stream],
      [opened.connectSeqpacket(1), seqpacket],
    ] as const) {
      if (has) expect(await pending(asked)).toBe(true);
      else await expect(asked).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    }
  });

  it('refuses a device whose guest has a reserved CID', async () => {
    for (const cid of [0n, 1n, 2n, 0xffff_ffffn, 2n ** 32n + 5n, 2n ** 64n - 1n]) {
      await expect(openVsock(new Loopback(new Scripted(cid).device))).rejects.toMatchObject({
        code: 'LAYOUT_INVALID',
      });
    }
  });

  it('ends everything when it is closed', async () => {
    const { opened, stream } = await connected();
    const asked = opened.connect(5);
    await idle();
    const read = stream.read();
    await opened.close();
    for (const lost of [read, asked, opened.connect(6)]) {
      await expect(lost).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    }
  });
});

const own0: Readonly<Record<string, true>> = { STREAM: true, SEQPACKET: true, NO_IMPLIED_STREAM: true };

describe('an open socket device', () => {
  // @holds 5.10.6.4.1 driver: Device Types / Socket Device / Device Operation / Receive and Transmit
  it('sends from its own CID, and answers an unknown type with RST', async () => {
    const { scripted, opened, stream } = await connected();
    await stream.write(octets('hello'));
    void opened.connect(22);
    await scripted.say({ op: RW, type: 9, src_port: 55 });
    expect(scripted.heard.map(({ op, type }) => [op, type])).toEqual([
      [RW, socketType.STREAM],
      [REQUEST, socketType.STREAM],
      [RST, 9],
    ]);
    for (const { srcCid, dstCid } of scripted.heard) expect([srcCid, dstCid]).toEqual([7n, 2n]);
    scripted.heard.length = 0;
    await scripted.say({ op: RST, type: 9, src_port: 55 });
    expect(scripted.heard).toMatchObject([{ op: RST, type: socketType.STREAM, dstPort: 55 }]);
    scripted.heard.length = 0;
    await scripted.say({ op: RST, src_port: 55 });
    expect(scripted.heard).toEqual([]);
  });

  it('connects to the host, or to whoever has a CID, and listens', async () => {
    const { scripted, opened, stream } = await connected();
    expect(opened.cid).toBe(guestCid);
    const asked = opened.connect(22, 8);
    await idle();
    const { srcPort, dstCid } = scripted.heard.pop() ?? expect.fail('nothing was sent');
    expect(dstCid).toBe(8n);
    await scripted.say({ op: RESPONSE, src_cid: 8n, src_port: 22, dst_port: srcPort });
    expect((await asked).peerCid).toBe(8);
    await scripted.say({ op: RW }, octets('in'));
    expect(text(await stream.read())).toBe('in');
    await scripted.say({ op: REQUEST, src_port: 3, dst_port: 999 });
    expect(scripted.heard.pop()).toMatchObject({ op: RST, srcPort: 999, dstPort: 3 });
  });

  it('asks a handler about ports at which nobody listens', async () => {
    const scripted = new Scripted();
    const kinds: VsockRequest['kind'][] = [];
    await openVsock(new Loopback(scripted.device), {
      onRequest: (request) => {
        kinds.push(request.kind);
        if (request.kind === 'stream') request.refuse();
        else request.accept();
      },
    });
    await scripted.say({ op: REQUEST });
    await scripted.say({ op: REQUEST, type: socketType.SEQPACKET });
    expect(scripted.heard.map(({ op }) => op)).toEqual([RST, RESPONSE]);
    expect(kinds).toEqual(['stream', 'seqpacket']);
  });

  // @holds 5.10.6.3.1 driver: Device Types / Socket Device / Device Operation / Buffer Space Management
  it('sends no more than the peer has room for, and tells its own in every packet', async () => {
    const { scripted, stream } = await connected();
    await scripted.say({ op: CREDIT_UPDATE, buf_alloc: 20_000 });
    const written = stream.write(new Uint8Array(50_000));
    await idle();
    expect(scripted.heard.map(({ op, payload }) => [op, payload.length])).toEqual([
      [RW, 16_384],
      [RW, 3616],
      [CREDIT_REQUEST, 0],
    ]);
    await scripted.say({ op: CREDIT_UPDATE, buf_alloc: 20_000, fwd_cnt: 19_000 });
    expect(scripted.heard.slice(3).map(({ op, payload }) => [op, payload.length])).toEqual([
      [RW, 16_384],
      [RW, 2616],
      [CREDIT_REQUEST, 0],
    ]);
    await scripted.say({ op: CREDIT_REQUEST, buf_alloc: 100_000, fwd_cnt: 0 });
    await written;
    for (const { bufAlloc, fwdCnt } of scripted.heard) expect([bufAlloc, fwdCnt]).toEqual([256 * 1024, 0]);
  });

  it.each([INVALID, REQUEST, RESPONSE, 8])('resets a connection at operation %d', async (op) => {
    const { scripted, stream } = await connected();
    await scripted.say({ op });
    expect(scripted.heard.pop()).toMatchObject({ op: RST });
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('ends connections cleanly from either side', async () => {
    const first = await connected();
    await first.scripted.say({ op: SHUTDOWN, flags: both });
    expect(first.scripted.heard.pop()).toMatchObject({ op: RST });
    expect(await first.stream.read()).toBeUndefined();
    const { scripted, stream } = await connected();
    const closed = stream.close();
    expect(scripted.heard.pop()).toMatchObject({ op: SHUTDOWN, flags: both });
    expect(await pending(closed)).toBe(true);
    await scripted.say({ op: RST });
    await closed;
  });

  it('sends and receives messages', async () => {
    const scripted = new Scripted();
    const opened = await openVsock(new Loopback(scripted.device));
    const asked = opened.connectSeqpacket(9);
    await idle();
    const { srcPort } = scripted.heard.pop() ?? expect.fail('nothing was sent');
    const flow = { type: socketType.SEQPACKET, src_port: 9, dst_port: srcPort };
    await scripted.say({ ...flow, op: RESPONSE });
    const socket = await asked;
    await socket.send(new Uint8Array(20_000), true);
    expect(scripted.heard.map(({ flags, payload }) => [flags, payload.length])).toEqual([
      [0, 16_384],
      [seqFlag.EOM | seqFlag.EOR, 3616],
    ]);
    await scripted.say({ ...flow, op: RW }, octets('a'));
    await scripted.say({ ...flow, op: RW, flags: seqFlag.EOM }, octets('b'));
    await scripted.say({ ...flow, op: SHUTDOWN, flags: shutdownFlag.SEND });
    const messages = [];
    for await (const { data } of socket) messages.push(text(data));
    expect(messages).toEqual(['ab']);
  });
});

describe('flow control of the queues', () => {
  // @holds 5.10.6.1.1 driver: Device Types / Socket Device / Device Operation / Virtqueue Flow Control
  it('takes packets while the tx queue is full, as long as there is room for the answers', async () => {
    const { scripted, stream } = await connected();
    scripted.takes = false;
    for (let i = 0; i < 100; i++) await scripted.say({ op: CREDIT_REQUEST, src_port: 5000 + i });
    await scripted.say({ op: RW }, octets('through'));
    expect(text(await stream.read())).toBe('through');
    // Then it stops: the device gets no more buffers back.
    let taken = 0;
    for (let refused = 0; refused < 3; ) {
      const src = { src_cid: 2n, src_port: 6000 + taken, dst_cid: BigInt(guestCid) };
      if (scripted.put(encodePacket({ ...src, op: CREDIT_REQUEST }))) taken++;
      else refused++;
      await idle();
    }
    // 16 in the ring, 256 that wait, and the buffers of the rx queue.
    expect(100 + taken).toBe(16 + 256 + 16);
    scripted.takes = true;
    for (let turn = 0; turn < 50 && scripted.heard.length < 100 + taken; turn++) {
      scripted.take();
      await idle();
    }
    const ports = scripted.heard.map(({ dstPort }) => dstPort);
    expect(ports).toEqual(
      [...Array(100).keys()].map((i) => 5000 + i).concat([...Array(taken).keys()].map((i) => 6000 + i)),
    );
  });

  it('gives event buffers back at once', async () => {
    const scripted = new Scripted();
    let resets = 0;
    await openVsock(new Loopback(scripted.device), { onTransportReset: () => resets++ });
    for (let i = 0; i < 20; i++) {
      while (!scripted.event()) await idle();
    }
    await idle();
    expect(resets).toBe(20);
    expect(scripted.put(virtio_vsock_event.encode({ id: 99 }), 'event')).toBe(true);
    await idle();
    expect(resets).toBe(20);
  });
});

describe('a transport reset', () => {
  // @holds 5.10.6.7.1 driver: Device Types / Socket Device / Device Operation / Device Events
  it('shuts connections down, has the CID read again, and leaves listeners listening', async () => {
    const { scripted, opened, stream } = await connected();
    opened.connect(5).catch(() => {});
    await idle();
    scripted.heard.length = 0;
    scripted.device.updateConfig({ guest_cid: 1234n });
    scripted.event();
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    await idle();
    expect(opened.cid).toBe(1234);
    // Nothing is said of the connections that are gone, and nothing for the old CID is taken.
    await scripted.say({ op: REQUEST });
    expect(scripted.heard).toEqual([]);
    await scripted.say({ op: REQUEST, dst_cid: 1234n });
    expect(scripted.heard).toMatchObject([{ op: RESPONSE, srcCid: 1234n }]);
  });

  it('to a CID that no guest can have is the end of the device', async () => {
    const scripted = new Scripted();
    const failures: unknown[] = [];
    await openVsock(new Loopback(scripted.device), { onFailure: (error) => failures.push(error) });
    scripted.device.updateConfig({ guest_cid: 1n });
    scripted.event();
    await idle();
    expect(failures).toMatchObject([{ code: 'LAYOUT_INVALID' }]);
  });
});

describe('a device that breaks the rules', () => {
  it.each([
    ['a packet that is cut', 'rx', encodePacket({ op: RW }).subarray(0, 43)],
    ['nothing at all', 'rx', none],
    [
      'a payload that is cut',
      'rx',
      encodePacket({ op: RW, len: 2, src_cid: 2n, src_port: 1024, dst_cid: 7n, dst_port: 1000 }, octets('x')),
    ],
    ['an event that is cut', 'event', Uint8Array.of(0)],
  ] as const)('is named, and given up: %s', async (_, queue, bytes) => {
    const { scripted, opened, stream } = await connected();
    scripted.put(bytes, queue);
    await expect(stream.read()).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    await expect(opened.connect(5)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    await expect(stream.write(octets('x'))).rejects.not.toBeInstanceOf(HostError);
  });

  it('by sending more than there is room for loses the connection', async () => {
    const { scripted, stream } = await connected();
    for (let i = 0; i < 16; i++) await scripted.say({ op: RW }, new Uint8Array(16_384));
    await scripted.say({ op: RW }, octets('x'));
    expect(scripted.heard.pop()).toMatchObject({ op: RST });
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });
});
