import { describe, expect, it } from 'vitest';
import { idle, pending } from '../../device/idle.fixture.ts';
import { difference, pattern } from '../../testing/fixtures/pattern.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { type VsockDevice, type VsockOptions, vsockDevice } from './device.ts';
import { type OpenVsock, openVsock } from './driver.ts';
import { encodePacket, RawGuest } from './raw-guest.fixture.ts';
import { socketType, vsockOp } from './spec.ts';
import type { VsockSeqpacket, VsockStream } from './spec-stream.ts';
import { VsockSwitch } from './switch.ts';

interface Guest {
  readonly device: VsockDevice;
  readonly guest: OpenVsock;
}

/** Guests on one switch, by their CIDs. */
async function guests(...cids: readonly number[]): Promise<{ bridge: VsockSwitch; all: Guest[] }> {
  const bridge = new VsockSwitch();
  const all = await Promise.all(cids.map((guestCid) => guestOn(bridge, { guestCid, bufferSize: 32_768 })));
  return { bridge, all };
}

async function guestOn(bridge: VsockSwitch, options: VsockOptions): Promise<Guest> {
  const device = vsockDevice(options);
  bridge.add(device);
  return { device, guest: await openVsock(new Loopback(device)) };
}

async function two(): Promise<[Guest, Guest, VsockSwitch]> {
  const { bridge, all } = await guests(3, 4);
  const [one, other] = all;
  return [one ?? expect.fail(), other ?? expect.fail(), bridge];
}

async function echo(stream: VsockStream): Promise<void> {
  for await (const bytes of stream) await stream.write(bytes);
  stream.end();
}

async function all(stream: VsockStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const bytes of stream) pieces.push(bytes);
  return new Uint8Array(pieces.flatMap((piece) => [...piece]));
}

describe('guests on a switch', () => {
  it('connect to one another, and each sees the other as its peer', async () => {
    const [one, other] = await two();
    const seen: VsockStream[] = [];
    other.guest.listen(80, (stream) => {
      seen.push(stream);
      return echo(stream);
    });
    const stream = await one.guest.connect(80, 4);
    expect([stream.peerCid, stream.peerPort]).toEqual([4, 80]);
    expect([seen[0]?.peerCid, seen[0]?.peerPort]).toEqual([3, stream.localPort]);
    const sent = pattern(200_000);
    const written = stream.write(sent).then(() => stream.end());
    const came = await all(stream);
    expect([came.length, difference(came, sent)]).toEqual([sent.length, undefined]);
    await written;
    await Promise.all([stream.closed, seen[0]?.closed]);
    // The other way round, and from the same port of another guest.
    one.guest.listen(80, echo);
    const back = await other.guest.connect(80, 3);
    expect(back.peerCid).toBe(3);
    back.reset();
  });

  it('send each other messages, whole', async () => {
    const [one, other] = await two();
    other.guest.listenSeqpacket(5, async (socket) => {
      for await (const { data, endOfRecord } of socket) await socket.send(data, endOfRecord);
      socket.end();
    });
    const socket: VsockSeqpacket = await one.guest.connectSeqpacket(5, 4);
    for (const [length, endOfRecord] of [
      [0, false],
      [30_000, true],
      [1, false],
    ] as const) {
      await socket.send(pattern(length), endOfRecord);
      const { data, endOfRecord: end } = (await socket.receive()) ?? expect.fail('it ended');
      expect([data.length, difference(data, pattern(length))]).toEqual([length, undefined]);
      expect(end).toBe(endOfRecord);
    }
    socket.end();
    expect(await socket.receive()).toBeUndefined();
  });

  it('are refused where nobody is, where nobody listens, and by themselves', async () => {
    const [one, other, bridge] = await two();
    one.guest.listen(80, echo);
    other.device.listen(81, echo);
    for (const [port, cid] of [
      [80, 4],
      [80, 5],
      [80, 3],
      // A port of the host's is none of the guest's.
      [81, 4],
      [80, 1],
      [80, 0xffff_ffff],
    ] as const) {
      await expect(one.guest.connect(port, cid)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    }
    const streams = await guestOn(bridge, { guestCid: 6, offers: ['STREAM', 'NO_IMPLIED_STREAM'] });
    streams.guest.listen(80, echo);
    await expect(one.guest.connectSeqpacket(80, 6)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    (await one.guest.connect(80, 6)).reset();
    await streams.guest.close();
    await expect(one.guest.connect(80, 6)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('hold back their own connection alone when they do not read', async () => {
    const [one, other] = await two();
    const taken: VsockStream[] = [];
    other.guest.listen(1, (stream) => void taken.push(stream));
    other.guest.listen(2, echo);
    const stalled = await one.guest.connect(1, 4);
    let written = 0;
    const writing = (async () => {
      for (; written < 2 ** 20; written += 16_384) await stalled.write(new Uint8Array(16_384));
      stalled.end();
    })();
    await idle();
    // A buffer of the host's, one of each guest's, and what is on its way between.
    expect(written).toBeLessThan(2 ** 20);
    const beside = await one.guest.connect(2, 4);
    await beside.write(Uint8Array.of(7));
    expect(await beside.read()).toEqual(Uint8Array.of(7));
    const reader = taken[0] ?? expect.fail('it was not taken');
    expect((await all(reader)).length).toBe(2 ** 20);
    await writing;
  });

  it('hear that the other one reset a connection, or is gone', async () => {
    const [one, other] = await two();
    const taken: VsockStream[] = [];
    other.guest.listen(1, (stream) => void taken.push(stream));
    const [first, second] = [await one.guest.connect(1, 4), await one.guest.connect(1, 4)];
    taken[0]?.reset();
    await expect(first.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    await other.guest.close();
    await expect(second.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
  });

  it('come and go, each with a CID of its own', async () => {
    const bridge = new VsockSwitch();
    const [first, second] = [vsockDevice({ guestCid: 3 }), vsockDevice({ guestCid: 3 })];
    const place = bridge.add(first);
    expect(() => bridge.add(second)).toThrow(/CID 3 is here already/);
    place.remove();
    place.remove();
    bridge.add(second);
    const guest = await openVsock(new Loopback(second));
    const { guest: other } = await guestOn(bridge, { guestCid: 4 });
    other.listen(1, echo);
    (await guest.connect(1, 4)).reset();
    const left = await openVsock(new Loopback(first));
    await expect(left.connect(1, 4)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
  });

  it('are told apart from the host, whatever their ports', async () => {
    const bridge = new VsockSwitch();
    const device = vsockDevice({ guestCid: 7 });
    bridge.add(device);
    let host: VsockStream | undefined;
    device.listen(1024, (stream) => {
      host = stream;
    });
    const raw = await RawGuest.open(device);
    const heard = raw.hear();
    await raw.send({ op: vsockOp.REQUEST });
    expect(await heard).toMatchObject({ op: vsockOp.RESPONSE, srcCid: 2n });
    // To the same port of nobody's: the connection with the host has no part in it.
    const answer = raw.hear();
    await raw.send({ op: vsockOp.RW, dst_cid: 9n }, Uint8Array.of(1));
    expect(await answer).toMatchObject({ op: vsockOp.RST, srcCid: 9n, type: socketType.STREAM });
    const stream = host ?? expect.fail('nobody connected');
    expect(await pending(stream.read())).toBe(true);
    // Who says that another guest asks is not heard.
    await raw.opened.queue('tx').request(encodePacket({ op: vsockOp.REQUEST, src_cid: 8n, src_port: 5 }), 0);
    expect(await pending(raw.hear())).toBe(true);
  });
});
