import { describe, expect, it } from 'vitest';
import { idle, pending } from '../../device/idle.fixture.ts';
import { status } from '../../spec/status.ts';
import {
  seqFlag,
  shutdownFlag,
  socketType,
  type VsockDevice,
  type VsockOptions,
  type VsockRequest,
  type VsockSeqpacket,
  type VsockStream,
  virtio_vsock_hdr,
  vsockDevice,
  vsockOp,
} from './index.ts';
import { encodePacket, guestCid, none, RawGuest } from './raw-guest.fixture.ts';

const { INVALID, REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST } = vsockOp;
const { STREAM, SEQPACKET } = socketType;
const both = shutdownFlag.RECEIVE | shutdownFlag.SEND;
const octets = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (char) => char.charCodeAt(0));
const text = (bytes: Uint8Array | undefined): string | undefined => bytes && String.fromCharCode(...bytes);

interface Connected {
  readonly device: VsockDevice;
  readonly guest: RawGuest;
  readonly stream: VsockStream;
}

/** A guest that is connected to the host's port 1024. */
async function connected(
  options: Partial<VsockOptions> = {},
  credit: { buf_alloc?: number } = {},
): Promise<Connected> {
  const device = vsockDevice({ guestCid, ...options });
  const guest = await RawGuest.open(device);
  const taken = new Promise<VsockStream>((resolve) => {
    device.listen(1024, resolve);
  });
  await guest.send({ op: REQUEST, ...credit });
  expect(await guest.hear()).toMatchObject({ op: RESPONSE });
  return { device, guest, stream: await taken };
}

async function connectedSeqpacket(
  options: Partial<VsockOptions> = {},
): Promise<Omit<Connected, 'stream'> & { socket: VsockSeqpacket }> {
  const device = vsockDevice({ guestCid, ...options });
  const guest = await RawGuest.open(device);
  const taken = new Promise<VsockSeqpacket>((resolve) => {
    device.listenSeqpacket(1024, resolve);
  });
  await guest.send({ op: REQUEST, type: SEQPACKET });
  expect(await guest.hear()).toMatchObject({ op: RESPONSE, type: SEQPACKET });
  return { device, guest, socket: await taken };
}

describe('a packet', () => {
  it('has the header that the specification lays out', () => {
    expect(virtio_vsock_hdr.size).toBe(44);
    const { src_cid, dst_cid, src_port, dst_port, len, type, op, flags, buf_alloc, fwd_cnt } =
      virtio_vsock_hdr.field;
    const fields = [src_cid, dst_cid, src_port, dst_port, len, type, op, flags, buf_alloc, fwd_cnt];
    expect(fields.map(({ offset }) => offset)).toEqual([0, 8, 16, 20, 24, 28, 30, 32, 36, 40]);
  });
});

describe('a socket device', () => {
  // @holds 5.10.6.4.2 device: Device Types / Socket Device / Device Operation / Receive and Transmit
  it('has no reserved CID for its guest', () => {
    const bad = expect.objectContaining({ code: 'BAD_ARGUMENT' });
    for (const cid of [0, 1, 2, 0xffff_ffff, 2 ** 32, 2 ** 64, -1, 3.5]) {
      expect(() => vsockDevice({ guestCid: cid })).toThrow(bad);
      expect(() => vsockDevice({ guestCid }).transportReset(cid)).toThrow(bad);
    }
    expect(vsockDevice({ guestCid: 0xffff_fffe }).config.guest_cid).toBe(0xffff_fffen);
  });

  it('takes limits that can be', () => {
    const bad = expect.objectContaining({ code: 'BAD_ARGUMENT' });
    expect(() => vsockDevice({ guestCid, bufferSize: 10 })).toThrow(bad);
    expect(() => vsockDevice({ guestCid, maxConnections: 0 })).toThrow(bad);
    const device = vsockDevice({ guestCid });
    expect(() => device.listen(0xffff_ffff, () => {})).toThrow(bad);
    const listener = device.listen(5, () => {});
    expect(() => device.listen(5, () => {})).toThrow(bad);
    device.listenSeqpacket(5, () => {});
    listener.close();
    expect(device.listen(5, () => {}).port).toBe(5);
  });

  // @holds 5.10.3.2 device: Device Types / Socket Device / Feature bits
  it.each([
    { features: [], kinds: [STREAM] },
    { features: ['STREAM'], kinds: [STREAM] },
    { features: ['SEQPACKET'], kinds: [STREAM, SEQPACKET] },
    { features: ['SEQPACKET', 'NO_IMPLIED_STREAM'], kinds: [SEQPACKET] },
    { features: ['STREAM', 'SEQPACKET', 'NO_IMPLIED_STREAM'], kinds: [STREAM, SEQPACKET] },
    { features: ['NO_IMPLIED_STREAM'], kinds: [] },
  ] as const)('has sockets of the types $kinds with $features', async ({ features, kinds }) => {
    const types: readonly number[] = kinds;
    const device = vsockDevice({ guestCid });
    expect(device.behaviour.offers).toContain('NO_IMPLIED_STREAM');
    const guest = await RawGuest.open(device, features);
    device.listen(1024, () => {});
    device.listenSeqpacket(1024, () => {});
    for (const type of [STREAM, SEQPACKET]) {
      await guest.send({ op: REQUEST, type });
      const has = types.includes(type);
      expect(await guest.hear()).toMatchObject({ op: has ? RESPONSE : RST, type });
      if (has) await guest.send({ op: RST, type });
    }
    if (!types.includes(SEQPACKET)) {
      const code = kinds.length === 0 ? 'DEVICE_GONE' : 'NOT_NEGOTIATED';
      await expect(device.connectSeqpacket(1)).rejects.toMatchObject({ code });
    }
    expect(guest.errors).toEqual([]);
  });

  it('connects nobody while no driver runs it', async () => {
    const device = vsockDevice({ guestCid });
    await expect(device.connect(22)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    const guest = await RawGuest.open(device);
    const asked = device.connect(22);
    expect(await guest.hear()).toMatchObject({ op: REQUEST });
    expect(device.driven).toBe(true);
    await guest.transport.writeStatus(0);
    await expect(asked).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await expect(device.connect(22)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  });
});

describe('a connection', () => {
  it('that the guest asks for carries bytes both ways, and ends cleanly', async () => {
    const { guest, stream } = await connected();
    expect(stream).toMatchObject({ localPort: 1024, peerPort: 1000, peerCid: guestCid });
    await guest.send({ op: RW }, octets('hello'));
    expect(text(await stream.read())).toBe('hello');
    const written = stream.write(octets('world'));
    expect(await guest.hear()).toMatchObject({
      ...{ op: RW, type: STREAM, srcCid: 2n, dstCid: 7n, srcPort: 1024, dstPort: 1000 },
      ...{ flags: 0, bufAlloc: 256 * 1024, fwdCnt: 5, payload: octets('world') },
    });
    await written;
    const closed = stream.close();
    expect(await guest.hear()).toMatchObject({ op: SHUTDOWN, flags: both });
    await guest.send({ op: RST });
    await closed;
    expect(guest.errors).toEqual([]);
  });

  it('that the host asks for is granted or refused by the guest', async () => {
    const device = vsockDevice({ guestCid });
    const guest = await RawGuest.open(device);
    const refused = device.connect(22);
    const first = await guest.hear();
    expect(first).toMatchObject({ op: REQUEST, dstPort: 22, dstCid: 7n, bufAlloc: 256 * 1024, fwdCnt: 0 });
    await guest.send({ op: RST, src_port: 22, dst_port: first.srcPort });
    await expect(refused).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });

    const granted = device.connectSeqpacket(22);
    const second = await guest.hear();
    expect(second).toMatchObject({ op: REQUEST, type: SEQPACKET });
    expect(second.srcPort).not.toBe(first.srcPort);
    await guest.send({ op: RESPONSE, type: SEQPACKET, src_port: 22, dst_port: second.srcPort });
    expect((await granted).localPort).toBe(second.srcPort);
  });

  it('is refused where nobody listens, and where the handler says so, at once or later', async () => {
    const asked: string[] = [];
    const onRequest = async (request: VsockRequest): Promise<void> => {
      asked.push(`${request.kind} ${request.port}`);
      if (request.port === 1) request.refuse();
      if (request.port === 2) throw new Error('not today');
      await idle();
      request.accept();
      request.refuse();
    };
    const guest = await RawGuest.open(vsockDevice({ guestCid, onRequest }));
    for (const [dst_port, type, op] of [
      [1, STREAM, RST],
      [2, SEQPACKET, RST],
      [3, SEQPACKET, RESPONSE],
    ] as const) {
      await guest.send({ op: REQUEST, dst_port, type });
      expect(await guest.hear()).toMatchObject({ op, type, srcPort: dst_port });
    }
    expect(asked).toEqual(['stream 1', 'seqpacket 2', 'seqpacket 3']);
    const nobody = await RawGuest.open(vsockDevice({ guestCid }));
    await nobody.send({ op: REQUEST });
    expect(await nobody.hear()).toMatchObject({
      op: RST,
      srcCid: 2n,
      dstCid: 7n,
      srcPort: 1024,
      dstPort: 1000,
    });
  });

  it('is reset when its handler fails', async () => {
    const device = vsockDevice({ guestCid });
    device.listen(1, () => {
      throw new Error('a mistake');
    });
    device.listen(2, () => Promise.reject(new Error('a later one')));
    const guest = await RawGuest.open(device);
    for (const dst_port of [1, 2]) {
      await guest.send({ op: REQUEST, dst_port });
      const heard = [await guest.hear()];
      if (heard[0]?.op === RESPONSE) heard.push(await guest.hear());
      expect(heard.at(-1)).toMatchObject({ op: RST, srcPort: dst_port });
    }
    expect(guest.errors).toEqual([]);
  });

  it('goes nowhere from a CID that is not the guest’s, and to one that is not the host’s', async () => {
    const device = vsockDevice({ guestCid, onRequest: (request) => request.accept() });
    const guest = await RawGuest.open(device);
    await guest.send({ op: REQUEST, src_cid: 9n });
    await guest.send({ op: REQUEST, src_cid: BigInt(guestCid) + 2n ** 32n });
    const heard = guest.hear();
    expect(await pending(heard)).toBe(true);
    await guest.send({ op: REQUEST, dst_cid: 8n });
    expect(await heard).toMatchObject({ op: RST, srcCid: 8n, dstCid: 7n });
  });

  // @holds 5.10.6.4.2 device: Device Types / Socket Device / Device Operation / Receive and Transmit
  it('is answered with RST for an unknown type, an RST too, which is answered in a known type', async () => {
    const { guest, stream } = await connected();
    for (const type of [0, 3, 0xffff]) {
      await guest.send({ op: REQUEST, type, dst_port: 9 });
      expect(await guest.hear()).toMatchObject({ op: RST, type, srcPort: 9 });
      await guest.send({ op: RST, type, dst_port: 9 });
      expect(await guest.hear()).toMatchObject({ op: RST, type: STREAM, srcPort: 9 });
      await guest.send({ op: RST, type: STREAM, dst_port: 9 });
    }
    await guest.send({ op: RW, type: 77 }, octets('x'));
    expect(await guest.hear()).toMatchObject({ op: RST, type: 77 });
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    expect(await pending(guest.hear())).toBe(true);
  });

  // @holds 5.10.6.4.2 device: Device Types / Socket Device / Device Operation / Receive and Transmit
  it('that an RST of an unknown type names is over, and the peer hears so in its own type', async () => {
    const { guest, stream } = await connected();
    await guest.send({ op: RST, type: 77 });
    expect(await guest.hear()).toMatchObject({ op: RST, type: STREAM, srcPort: 1024, dstPort: 1000 });
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it.each([INVALID, REQUEST, RESPONSE, 8, 0xffff])(
    'is reset by operation %d, which has no place in it',
    async (op) => {
      const { guest, stream } = await connected();
      await guest.send({ op });
      expect(await guest.hear()).toMatchObject({ op: RST, srcPort: 1024, dstPort: 1000 });
      await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
      await expect(stream.write(octets('x'))).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    },
  );

  it.each([INVALID, RESPONSE, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST, 8])(
    'that does not exist is reset by operation %d',
    async (op) => {
      const guest = await RawGuest.open(vsockDevice({ guestCid }));
      await guest.send({ op });
      expect(await guest.hear()).toMatchObject({ op: RST });
      await guest.send({ op: RST });
      expect(await pending(guest.hear())).toBe(true);
    },
  );

  it('that is asked for is reset by anything but an answer', async () => {
    for (const op of [INVALID, REQUEST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST, 9]) {
      const device = vsockDevice({ guestCid });
      const guest = await RawGuest.open(device);
      const asked = device.connect(22);
      const { srcPort } = await guest.hear();
      await guest.send({ op, src_port: 22, dst_port: srcPort });
      await expect(asked).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
      expect(await guest.hear()).toMatchObject({ op: RST, dstPort: 22 });
    }
  });

  it('that waits for the host may be given up by the guest', async () => {
    const requests: VsockRequest[] = [];
    const guest = await RawGuest.open(
      vsockDevice({ guestCid, onRequest: (request) => void requests.push(request) }),
    );
    await guest.send({ op: REQUEST });
    await guest.send({ op: RST });
    const socket = requests[0]?.accept();
    await socket?.closed;
    expect(socket?.localPort).toBe(1024);
    await guest.send({ op: REQUEST });
    await guest.send({ op: RW }, octets('early'));
    expect(await guest.hear()).toMatchObject({ op: RST });
  });
});

describe('the end of a connection', () => {
  it('is told by both hints, one after the other or at once, and answered by RST', async () => {
    for (const hints of [
      [both],
      [shutdownFlag.SEND, shutdownFlag.RECEIVE],
      [shutdownFlag.RECEIVE, shutdownFlag.SEND],
    ]) {
      const { guest, stream } = await connected();
      await guest.send({ op: RW }, octets('last words'));
      for (const [at, flags] of hints.entries()) {
        if (at === hints.length - 1) expect(await pending(stream.closed)).toBe(true);
        await guest.send({ op: SHUTDOWN, flags });
      }
      expect(await guest.hear()).toMatchObject({ op: RST });
      await stream.closed;
      expect(text(await stream.read())).toBe('last words');
      expect(await stream.read()).toBeUndefined();
      await expect(stream.write(octets('x'))).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    }
  });

  it('comes to the half that is shut down, and hints are not taken back', async () => {
    const { guest, stream } = await connected();
    await guest.send({ op: SHUTDOWN, flags: shutdownFlag.SEND });
    await guest.send({ op: SHUTDOWN, flags: 0 });
    expect(await stream.read()).toBeUndefined();
    const written = stream.write(octets('still'));
    expect(await guest.hear()).toMatchObject({ op: RW, payload: octets('still') });
    await written;
    // Both have said that they send nothing more: the device ends what is of no use any more.
    stream.end();
    expect(await guest.hear()).toMatchObject({ op: SHUTDOWN, flags: both });
    await guest.send({ op: RST });
    await stream.closed;
  });

  it('fails the writes of a host whose guest receives no more', async () => {
    const { guest, stream } = await connected({}, { buf_alloc: 0 });
    const written = stream.write(octets('unheard'));
    await guest.send({ op: SHUTDOWN, flags: shutdownFlag.RECEIVE, buf_alloc: 0 });
    await expect(written).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    await guest.send({ op: RW }, octets('but speaks'));
    expect(text(await stream.read())).toBe('but speaks');
  });

  it('follows what was written, when the host ends its half', async () => {
    const { guest, stream } = await connected({}, { buf_alloc: 0 });
    const written = stream.write(octets('slow'));
    stream.end();
    await expect(stream.write(octets('late'))).rejects.toMatchObject({ code: 'BAD_STATE' });
    expect(await guest.hear()).toMatchObject({ op: CREDIT_REQUEST });
    await guest.send({ op: CREDIT_UPDATE, buf_alloc: 100 });
    expect(await guest.hear()).toMatchObject({ op: RW });
    await written;
    expect(await guest.hear()).toMatchObject({ op: SHUTDOWN, flags: shutdownFlag.SEND });
    await guest.send({ op: RW }, octets('answer'));
    expect(text(await stream.read())).toBe('answer');
    await guest.send({ op: SHUTDOWN, flags: both });
    expect(await guest.hear()).toMatchObject({ op: RST });
    expect(await stream.read()).toBeUndefined();
  });

  it('discards what comes behind a close, and tells the guest that there is room', async () => {
    const { guest, stream } = await connected({ bufferSize: 4096 });
    await guest.send({ op: RW }, new Uint8Array(3000));
    const closed = stream.close();
    expect(await guest.hear()).toMatchObject({ op: CREDIT_UPDATE, fwdCnt: 3000 });
    expect(await guest.hear()).toMatchObject({ op: SHUTDOWN, flags: both });
    await guest.send({ op: RW }, new Uint8Array(4096));
    expect(await guest.hear()).toMatchObject({ op: CREDIT_UPDATE, fwdCnt: 7096 });
    expect(await stream.read()).toBeUndefined();
    await guest.send({ op: SHUTDOWN, flags: both });
    expect(await guest.hear()).toMatchObject({ op: RST });
    await closed;
  });

  it('is a reset from either side, and loses what was not read', async () => {
    const first = await connected();
    await first.guest.send({ op: RW }, octets('lost'));
    await first.guest.send({ op: RST });
    await expect(first.stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    await first.stream.closed;

    const second = await connected();
    const read = second.stream.read();
    second.stream.reset();
    await expect(read).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    expect(await second.guest.hear()).toMatchObject({ op: RST });
    second.stream.reset();
    await second.stream.close();
    expect(await pending(second.guest.hear())).toBe(true);
  });

  it('frees the addresses for another connection', async () => {
    const { device, guest, stream } = await connected();
    await guest.send({ op: SHUTDOWN, flags: both });
    expect(await guest.hear()).toMatchObject({ op: RST });
    await guest.send({ op: REQUEST });
    expect(await guest.hear()).toMatchObject({ op: RESPONSE });
    expect(await stream.read()).toBeUndefined();
    expect(device.driven).toBe(true);
  });
});

describe('credit', () => {
  // @holds 5.10.6.3.2 device: Device Types / Socket Device / Device Operation / Buffer Space Management
  it('is never exceeded, asked for once, and told in every packet', async () => {
    const { guest, stream } = await connected({}, { buf_alloc: 10 });
    const written = stream.write(Uint8Array.from({ length: 25 }, (_, i) => i));
    expect((await guest.hear()).payload).toEqual(Uint8Array.from({ length: 10 }, (_, i) => i));
    expect(await guest.hear()).toMatchObject({ op: CREDIT_REQUEST, bufAlloc: 256 * 1024, fwdCnt: 0 });
    const next = guest.hear();
    await guest.send({ op: CREDIT_UPDATE, buf_alloc: 10, fwd_cnt: 0 });
    expect(await pending(next)).toBe(true);
    await guest.send({ op: CREDIT_UPDATE, buf_alloc: 10, fwd_cnt: 3 });
    expect((await next).payload).toHaveLength(3);
    expect(await guest.hear()).toMatchObject({ op: CREDIT_REQUEST });
    // The buffer shrinks under what is on its way, and grows again.
    const last = guest.hear();
    await guest.send({ op: RW, buf_alloc: 5, fwd_cnt: 5 }, octets('ab'));
    expect(await pending(last)).toBe(true);
    await guest.send({ op: CREDIT_UPDATE, buf_alloc: 100, fwd_cnt: 5 });
    expect(await last).toMatchObject({ op: RW, bufAlloc: 256 * 1024, fwdCnt: 0 });
    expect(await pending(written)).toBe(false);
  });

  it('that lies about what was forwarded gains the guest nothing', async () => {
    const { guest, stream } = await connected({}, { buf_alloc: 100 });
    await guest.send({ op: CREDIT_UPDATE, buf_alloc: 100, fwd_cnt: 50 });
    const written = stream.write(new Uint8Array(80));
    expect(await guest.hear()).toMatchObject({ op: CREDIT_REQUEST });
    expect(await pending(written)).toBe(true);
    await guest.send({ op: CREDIT_UPDATE, buf_alloc: 0xffff_ffff, fwd_cnt: 0 });
    expect((await guest.hear()).payload).toHaveLength(80);
    await written;
  });

  it('is told when a quarter of the buffer was read, and when it is asked for', async () => {
    const { guest, stream } = await connected({ bufferSize: 4096 });
    await guest.send({ op: RW }, new Uint8Array(1000));
    await stream.read();
    const told = guest.hear();
    expect(await pending(told)).toBe(true);
    await guest.send({ op: RW }, new Uint8Array(24));
    await stream.read();
    expect(await told).toMatchObject({ op: CREDIT_UPDATE, bufAlloc: 4096, fwdCnt: 1024 });
    await guest.send({ op: CREDIT_REQUEST });
    expect(await guest.hear()).toMatchObject({ op: CREDIT_UPDATE, bufAlloc: 4096, fwdCnt: 1024 });
  });

  it('is told sooner to a guest whose own buffer is smaller, since it may send no more than that holds', async () => {
    const { guest, stream } = await connected({}, { buf_alloc: 400 });
    await guest.send({ op: RW, buf_alloc: 400 }, new Uint8Array(99));
    await stream.read();
    const told = guest.hear();
    expect(await pending(told)).toBe(true);
    await guest.send({ op: RW, buf_alloc: 400 }, new Uint8Array(1));
    await stream.read();
    expect(await told).toMatchObject({ op: CREDIT_UPDATE, bufAlloc: 256 * 1024, fwdCnt: 100 });
  });

  it('that the guest exceeds costs it the connection, and the host nothing', async () => {
    const { guest, stream } = await connected({ bufferSize: 4096 });
    await guest.send({ op: RW }, new Uint8Array(4096));
    await guest.send({ op: RW }, Uint8Array.of(1));
    expect(await guest.hear()).toMatchObject({ op: RST });
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    expect(guest.errors).toEqual([]);
  });

  it('holds the guest back while nobody reads, and the host while the guest does not', async () => {
    const { guest, stream } = await connected({ bufferSize: 4096 }, { buf_alloc: 0 });
    for (let i = 0; i < 4; i++) await guest.send({ op: RW, buf_alloc: 0 }, new Uint8Array(1024).fill(i));
    const waits = stream.write(octets('wait'));
    expect(await guest.hear()).toMatchObject({ op: CREDIT_REQUEST });
    expect(await pending(waits)).toBe(true);
    const heard = guest.hear();
    let read = 0;
    while (read < 4096) read += (await stream.read())?.length ?? 0;
    expect(await heard).toMatchObject({ op: CREDIT_UPDATE });
  });
});

describe('flow control of the queues', () => {
  // @holds 5.10.6.1.2 device: Device Types / Socket Device / Device Operation / Virtqueue Flow Control
  it('takes packets of a guest that gives no buffers, as long as there is room for the answers', async () => {
    const { guest, stream } = await connected();
    const sent: Promise<void>[] = [];
    for (let i = 0; i < 200; i++) sent.push(guest.send({ op: CREDIT_REQUEST, dst_port: 5000 + i }));
    sent.push(guest.send({ op: RW }, octets('through')));
    await Promise.all(sent);
    expect(text(await stream.read())).toBe('through');
    for (let i = 0; i < 200; i++) expect(await guest.hear()).toMatchObject({ op: RST, srcPort: 5000 + i });
  });

  it('stops at a bound, and goes on when the guest takes the answers', async () => {
    const { guest, stream } = await connected();
    let used = 0;
    const sent: Promise<void>[] = [];
    for (let i = 0; i < 1000; i++) {
      sent.push(guest.send({ op: CREDIT_REQUEST, dst_port: 5000 + i }).then(() => void used++));
    }
    sent.push(guest.send({ op: RW }, octets('at last')));
    await idle();
    expect(used).toBe(256);
    for (let i = 0; i < 1000; i++) expect(await guest.hear()).toMatchObject({ op: RST, srcPort: 5000 + i });
    await Promise.all(sent);
    expect(text(await stream.read())).toBe('at last');
  });

  it('gives each connection its turn', async () => {
    const { device, guest, stream } = await connected();
    const second = new Promise<VsockStream>((resolve) => void device.listen(1025, resolve));
    await guest.send({ op: REQUEST, dst_port: 1025 });
    expect(await guest.hear()).toMatchObject({ op: RESPONSE });
    void stream.write(new Uint8Array(300));
    void (await second).write(new Uint8Array(300));
    const ports: number[] = [];
    for (let i = 0; i < 6; i++) ports.push((await guest.hear(144)).srcPort);
    expect(ports).toEqual([1024, 1025, 1024, 1025, 1024, 1025]);
  });

  it('fills buffers for a header alone with what fits', async () => {
    const { guest, stream } = await connected();
    const written = stream.write(octets('x'));
    expect(await guest.hear(44)).toMatchObject({ op: CREDIT_UPDATE });
    expect(await guest.hear(45)).toMatchObject({ op: RW, payload: octets('x') });
    await written;
  });
});

describe('the number of connections', () => {
  it('is bounded, those among them that are over and were not read to the end', async () => {
    const { device, guest, stream } = await connected({ maxConnections: 2 });
    await guest.send({ op: RW }, octets('kept'));
    await guest.send({ op: SHUTDOWN, flags: both });
    expect(await guest.hear()).toMatchObject({ op: RST });
    await guest.send({ op: REQUEST, src_port: 1001 });
    expect(await guest.hear()).toMatchObject({ op: RESPONSE });
    await guest.send({ op: REQUEST, src_port: 1002 });
    expect(await guest.hear()).toMatchObject({ op: RST });
    await expect(device.connect(1)).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    expect(text(await stream.read())).toBe('kept');
    await guest.send({ op: REQUEST, src_port: 1002 });
    expect(await guest.hear()).toMatchObject({ op: RESPONSE });
  });

  it('makes room by resetting what a guest does not end', async () => {
    const { guest, stream } = await connected({ maxConnections: 1 });
    const closed = stream.close();
    expect(await guest.hear()).toMatchObject({ op: SHUTDOWN, flags: both });
    expect(await pending(closed)).toBe(true);
    await guest.send({ op: REQUEST, src_port: 1001 });
    expect(await guest.hear()).toMatchObject({ op: RST, dstPort: 1000 });
    expect(await guest.hear()).toMatchObject({ op: RESPONSE, dstPort: 1001 });
    await closed;
  });
});

describe('seqpacket sockets', () => {
  it('keep messages whole, however they were cut, and records', async () => {
    const { guest, socket } = await connectedSeqpacket();
    await guest.send({ op: RW, type: SEQPACKET }, octets('one '));
    const first = socket.receive();
    expect(await pending(first)).toBe(true);
    await guest.send({ op: RW, type: SEQPACKET, flags: seqFlag.EOM }, octets('message'));
    await guest.send({ op: RW, type: SEQPACKET, flags: seqFlag.EOM });
    await guest.send({ op: RW, type: SEQPACKET, flags: seqFlag.EOM | seqFlag.EOR }, octets('end'));
    expect(await first).toEqual({ data: octets('one message'), endOfRecord: false });
    expect(await socket.receive()).toEqual({ data: none, endOfRecord: false });
    expect(await socket.receive()).toEqual({ data: octets('end'), endOfRecord: true });

    const sent = [socket.send(octets('abcdef')), socket.send(none), socket.send(octets('z'), true)];
    const heard = [];
    for (let i = 0; i < 4; i++) heard.push(await guest.hear(44 + 4));
    expect(heard.map(({ flags, payload }) => [flags, text(payload)])).toEqual([
      [0, 'abcd'],
      [seqFlag.EOM, 'ef'],
      [seqFlag.EOM, ''],
      [seqFlag.EOM | seqFlag.EOR, 'z'],
    ]);
    await Promise.all(sent);
  });

  it('refuse what the other side can never hold', async () => {
    const { guest, socket } = await connectedSeqpacket({ bufferSize: 1024 });
    await expect(socket.send(new Uint8Array(2 ** 20 + 1))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await guest.send({ op: RW, type: SEQPACKET }, new Uint8Array(1024));
    expect(await guest.hear()).toMatchObject({ op: RST });
    await expect(socket.receive()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('bound messages without bytes, which cost no credit', async () => {
    const { guest, socket } = await connectedSeqpacket({ bufferSize: 1024 });
    for (let i = 0; i < 1025; i++) await guest.send({ op: RW, type: SEQPACKET, flags: seqFlag.EOM });
    expect(await guest.hear()).toMatchObject({ op: RST });
    await expect(socket.receive()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('end behind the last whole message', async () => {
    const { guest, socket } = await connectedSeqpacket({ maxConnections: 1 });
    await guest.send({ op: RW, type: SEQPACKET, flags: seqFlag.EOM }, octets('whole'));
    await guest.send({ op: RW, type: SEQPACKET }, octets('half'));
    await guest.send({ op: SHUTDOWN, type: SEQPACKET, flags: both });
    expect(await guest.hear()).toMatchObject({ op: RST });
    expect((await socket.receive())?.data).toEqual(octets('whole'));
    expect(await socket.receive()).toBeUndefined();
    await guest.send({ op: REQUEST, type: SEQPACKET });
    expect(await guest.hear()).toMatchObject({ op: RESPONSE });
  });

  it('are not those of a stream with the same addresses', async () => {
    const { guest, socket } = await connectedSeqpacket();
    await guest.send({ op: RW, type: STREAM }, octets('x'));
    expect(await guest.hear()).toMatchObject({ op: RST, type: STREAM });
    await expect(socket.receive()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });
});

describe('a buffer that is none', () => {
  const broken = async (guest: RawGuest, offered: Promise<unknown>): Promise<void> => {
    await expect(offered).rejects.toThrow();
    expect(guest.errors).toMatchObject([{ name: 'PeerError', code: 'BAD_REQUEST' }]);
    expect(guest.transport.core.status & status.DEVICE_NEEDS_RESET).not.toBe(0);
  };

  it.each([
    ['a header that is cut', () => encodePacket({ op: REQUEST }).subarray(0, 43)],
    ['a payload that is cut', () => encodePacket({ op: RW, len: 5 }, octets('four'))],
    ['nothing', () => Uint8Array.of(0)],
  ])('in the tx queue breaks it: %s', async (_, bytes) => {
    const { guest } = await connected();
    await broken(guest, guest.opened.queue('tx').request(bytes(), 0));
  });

  it('of the wrong direction breaks its queue', async () => {
    const first = (await connected()).guest;
    await broken(first, first.opened.queue('tx').request(encodePacket({ op: RST }), 4));
    const { guest, stream } = await connected();
    void stream.write(octets('x'));
    await broken(guest, guest.opened.queue('rx').request(octets('y'), 100));
  });

  it('in the rx queue or the event queue that is too short breaks it', async () => {
    const { guest, stream } = await connected();
    void stream.write(octets('x'));
    await broken(guest, guest.hear(43));
    const other = await connected();
    other.device.transportReset();
    await broken(other.guest, other.guest.opened.queue('event').request(none, 3));
  });

  it('may be longer than what it holds', async () => {
    const { guest, stream } = await connected();
    await guest.send({ op: RW, len: 3 }, octets('abcdef'));
    expect(text(await stream.read())).toBe('abc');
  });
});
