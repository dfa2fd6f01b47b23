import { describe, expect, it } from 'vitest';
import { get16, get32, put16 } from './bytes.ts';
import { connect } from './cable.ts';
import { allOffloads, checked, finished, noOffloads, type Offload, segmentation } from './offload.ts';
import {
  completed,
  faultsOf,
  inTunnel,
  offloadOf,
  type PacketOptions,
  packet,
  reassembled,
} from './packets.fixture.ts';
import { randomNumbers } from './random.fixture.ts';
import { RecordingEnd } from './recording-end.fixture.ts';

function joined(takes = noOffloads) {
  const from = new RecordingEnd();
  const to = new RecordingEnd(takes);
  const cable = connect(from, to);
  return { from, to, cable, link: from.link };
}

function bytes(length: number, seed = 1): Uint8Array {
  const random = randomNumbers(seed);
  return Uint8Array.from({ length }, () => random(256));
}

describe('a cable', () => {
  it('hands a finished frame on as it is', () => {
    const { to, link, cable } = joined();
    let same = false;
    const frame = bytes(60);
    to.onFrame = (given) => {
      same = given === frame;
    };
    expect(link.send(frame)).toBe(true);
    expect(same).toBe(true);
    expect(to.offloads).toEqual([finished]);
    expect(cable.fromFirst).toMatchObject({ frames: 1, bytes: 60, malformed: 0, lost: 0 });
  });

  it('tells one end of what the other says to follow', () => {
    const { from, to, link } = joined();
    link.more?.(true);
    link.more?.(false);
    expect([from.mores, to.mores]).toEqual([[], [true, false]]);
  });

  it('has two ends, and tells each what the other takes', () => {
    const one = new RecordingEnd();
    expect(() => connect(one, one)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    const { from, to } = joined(allOffloads);
    expect(from.link.takes).toBe(allOffloads);
    expect(to.link.takes).toBe(noOffloads);
    to.link.send(bytes(20));
    expect(from.frames).toHaveLength(1);
  });

  it('loses frames while it is cut, and tells both ends', () => {
    const { from, to, cable } = joined();
    to.space = 0;
    expect(from.link.send(bytes(60))).toBe(false);
    cable.cut();
    cable.cut();
    expect(from.rooms).toBe(1);
    expect(from.link.up).toBe(false);
    expect(from.link.send(bytes(60))).toBe(true);
    to.space = 9;
    cable.mend();
    from.link.send(bytes(61));
    expect(to.frames.map((frame) => frame.length)).toEqual([61]);
    expect(from.carriers).toEqual([false, true]);
    expect(to.carriers).toEqual([false, true]);
    expect(cable.fromFirst).toMatchObject({ frames: 1, lost: 1 });
    cable.close();
    expect(() => cable.mend()).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
    expect(to.link.send(bytes(60))).toBe(true);
    expect(cable.toFirst.lost).toBe(1);
  });

  it('drops what is too short to be a frame', () => {
    const { to, link, cable } = joined();
    expect(link.send(bytes(13))).toBe(true);
    expect(to.frames).toHaveLength(0);
    expect(cable.fromFirst.malformed).toBe(1);
  });
});

describe('back pressure', () => {
  it('reaches the sender, which is told of room once', () => {
    const { from, to, link } = joined();
    to.space = 1;
    expect(link.send(bytes(60))).toBe(true);
    expect(link.send(bytes(61))).toBe(false);
    expect(from.rooms).toBe(0);
    to.makeRoom(1);
    to.link.room();
    expect(from.rooms).toBe(1);
    expect(link.send(bytes(61))).toBe(true);
    expect(to.frames.map((frame) => frame.length)).toEqual([60, 61]);
  });

  it('keeps the rest of a frame that was cut, once, whatever becomes of the memory that was lent', () => {
    const options: PacketOptions = { version: 4, protocol: 'tcp', payload: bytes(10_000) };
    const made = packet(options);
    const offload = { ...offloadOf(options, made, 1000) };
    const whole = joined();
    whole.link.send(made.frame, offload);
    expect(whole.to.frames).toHaveLength(10);

    for (let space = 1; space < 10; space++) {
      const { from, to, link, cable } = joined();
      const lent = made.frame.slice();
      to.space = space;
      expect(link.send(lent, offload)).toBe(true);
      lent.fill(0xee);
      offload.checksumStart = 0;
      expect(link.send(bytes(60))).toBe(false);
      while (to.frames.length < 10) to.makeRoom(2);
      offload.checksumStart = made.transportAt;
      expect(to.frames).toEqual(whole.to.frames);
      expect(from.rooms).toBe(1);
      expect(cable.fromFirst).toMatchObject({ frames: 1, bytes: made.frame.length });
    }
  });

  it('takes nothing of a frame whose first segment has no room', () => {
    const options: PacketOptions = { version: 6, protocol: 'tcp', payload: bytes(3000) };
    const made = packet(options);
    const offload = offloadOf(options, made, 1000);
    const { to, link } = joined();
    to.space = 0;
    expect(link.send(made.frame, offload)).toBe(false);
    to.makeRoom(9);
    expect(link.send(made.frame, offload)).toBe(true);
    expect(to.frames).toHaveLength(3);
  });

  it('loses the rest when the cable is cut', () => {
    const options: PacketOptions = { version: 4, protocol: 'tcp', payload: bytes(3000) };
    const made = packet(options);
    const { to, link, cable } = joined();
    to.space = 1;
    link.send(made.frame, offloadOf(options, made, 1000));
    cable.cut();
    cable.mend();
    to.makeRoom(9);
    expect(to.frames).toHaveLength(1);
    expect(cable.fromFirst.lost).toBe(1);
  });

  it('does not mix segments with what the sender sends meanwhile', () => {
    const options: PacketOptions = { version: 4, protocol: 'tcp', payload: bytes(3000) };
    const made = packet(options);
    const { from, to, link } = joined();
    let sent = 0;
    const sendAnswer = (): void => {
      while (sent < 2 && link.send(bytes(60 + sent))) sent++;
    };
    to.onFrame = (frame) => {
      if (frame.length > 1000) sendAnswer();
    };
    from.onRoom = sendAnswer;
    expect(link.send(made.frame, offloadOf(options, made, 1000))).toBe(true);
    const lengths = to.frames.map((frame) => frame.length);
    expect(lengths).toEqual([1054, 1054, 1054, 60, 61]);
  });
});

describe('checksums', () => {
  it.each([4, 6] as const)('are completed for who does not take them, IPv%i', (version) => {
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const length of [0, 1, 100, 1400]) {
        const options: PacketOptions = { version, protocol, payload: bytes(length), tags: 1, ipOptions: 2 };
        const made = packet(options);
        const before = made.frame.slice();
        const { to, link } = joined();
        link.send(made.frame, offloadOf(options, made));
        expect(to.frames[0]).toEqual(completed(made, version, protocol));
        expect(faultsOf(to.frames[0]!)).toEqual([]);
        expect(to.offloads).toEqual([checked]);
        expect(made.frame).toEqual(before);
      }
    }
  });

  it('are left alone for who takes them', () => {
    const options: PacketOptions = { version: 4, protocol: 'udp', payload: bytes(10) };
    const made = packet(options);
    const { to, link } = joined({ ...noOffloads, checksum: true });
    link.send(made.frame, offloadOf(options, made));
    expect(to.frames[0]).toEqual(made.frame);
    expect(to.offloads[0]?.needsChecksum).toBe(true);
  });

  it('that would be 0 are written as 0xffff', () => {
    const options: PacketOptions = { version: 4, protocol: 'udp', payload: Uint8Array.of(0, 0) };
    const made = packet(options);
    const right = completed(made, 4, 'udp');
    const rest = get16(right, made.transportAt + 6);
    put16(made.frame, made.payloadAt, rest);
    const { to, link } = joined();
    link.send(made.frame, offloadOf(options, made));
    expect(get16(to.frames[0]!, made.transportAt + 6)).toBe(0xffff);
  });
});

describe('segments', () => {
  const random = randomNumbers(7);
  const shapes = Array.from({ length: 60 }, (_, i) => ({
    version: i % 2 === 0 ? (4 as const) : (6 as const),
    tags: random(3),
    ipOptions: random(3),
    tcpOptions: random(10),
    length: random(5) === 0 ? random(60_000) : random(6000),
    size: 8 + random(2000),
    id: random(0x10000),
    sequence: random(0x1_0000_0000),
    flags: random(256),
  }));

  it.each(shapes)('of TCP are the frame again, $version $length by $size', (shape) => {
    const payload = bytes(shape.length, shape.id);
    const options: PacketOptions = { ...shape, protocol: 'tcp', payload };
    const made = packet(options);
    const { to, link, cable } = joined();
    link.send(made.frame, offloadOf(options, made, shape.size));
    const { transportAt, networkAt, payloadAt } = made;
    const last = to.frames.length - 1;
    expect(to.frames).toHaveLength(Math.max(1, Math.ceil(payload.length / shape.size)));
    expect(cable.fromFirst.malformed).toBe(0);
    let at = 0;
    to.frames.forEach((frame, i) => {
      expect(faultsOf(frame)).toEqual([]);
      expect(to.offloads[i]).toBe(checked);
      expect(get32(frame, transportAt + 4)).toBe((shape.sequence + at) % 0x1_0000_0000);
      if (shape.version === 4) expect(get16(frame, networkAt + 4)).toBe((shape.id + i) & 0xffff);
      const flags = shape.flags & ~(i > 0 ? 0x80 : 0) & ~(i < last ? 0x09 : 0);
      expect(frame[transportAt + 13]).toBe(flags);
      const part = frame.subarray(payloadAt);
      expect(Buffer.compare(part, payload.subarray(at, at + shape.size))).toBe(0);
      at += part.length;
      // What is left of the headers is as it was.
      const headers = frame.slice(0, payloadAt);
      headers.set(made.frame.subarray(networkAt, networkAt + 12), networkAt);
      headers.set(made.frame.subarray(transportAt + 4, transportAt + 8), transportAt + 4);
      headers[transportAt + 13] = made.frame[transportAt + 13]!;
      headers.set(made.frame.subarray(transportAt + 16, transportAt + 18), transportAt + 16);
      expect(headers).toEqual(made.frame.slice(0, payloadAt));
    });
    expect(at).toBe(payload.length);
  });

  it.each(shapes.slice(0, 20))('of UDP are datagrams of their own, $version $length by $size', (shape) => {
    const payload = bytes(shape.length, shape.id);
    const options: PacketOptions = { ...shape, protocol: 'udp', payload };
    const made = packet(options);
    const { to, link } = joined();
    link.send(made.frame, offloadOf(options, made, shape.size));
    const parts = to.frames.map((frame) => frame.subarray(made.payloadAt));
    for (const frame of to.frames) expect(faultsOf(frame)).toEqual([]);
    for (const part of parts.slice(0, -1)) expect(part.length).toBe(shape.size);
    expect(Buffer.compare(Buffer.concat(parts), payload)).toBe(0);
  });

  it.each(shapes.slice(0, 30))(
    'that are fragments become the datagram again, $version $length by $size',
    (shape) => {
      const payload = bytes(shape.length, shape.id);
      const options: PacketOptions = { ...shape, protocol: 'udp', payload };
      const made = packet(options);
      const { to, link } = joined();
      link.send(made.frame, {
        ...offloadOf(options, made, shape.size),
        segmentation: segmentation.UDP_FRAGMENTS,
      });
      for (const frame of to.frames) expect(faultsOf(frame)).toEqual([]);
      const right = completed(made, shape.version, 'udp');
      if (to.frames.length === 1) {
        expect(to.frames[0]).toEqual(right);
        return;
      }
      const whole = reassembled(to.frames);
      expect(faultsOf(whole)).toEqual([]);
      if (shape.version === 4) {
        right.set(whole.subarray(made.networkAt + 6, made.networkAt + 12), made.networkAt + 6);
        right[made.networkAt + 8] = made.frame[made.networkAt + 8]!;
      }
      expect(Buffer.compare(whole, right)).toBe(0);
    },
  );

  it.each([
    [4, 4],
    [4, 6],
    [6, 4],
    [6, 6],
  ] as const)('travel in a UDP tunnel, IPv%i around IPv%i', (outer, inner) => {
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const outerChecksum of [true, false]) {
        const payload = bytes(4321, outer * 10 + inner);
        const options: PacketOptions = { version: inner, protocol, payload };
        const made = packet(options);
        const tunnel = inTunnel(outer, made);
        if (!outerChecksum) put16(tunnel.frame, tunnel.outerTransportOffset + 6, 0);
        const { outerTransportOffset, innerNetworkOffset, shift } = tunnel;
        const own = offloadOf(options, made, 1000);
        const offload: Offload = {
          ...own,
          checksumStart: own.checksumStart + shift,
          tunnel: { ipv6: outer === 6, outerChecksum, outerTransportOffset, innerNetworkOffset },
        };
        const { to, link } = joined();
        link.send(tunnel.frame, offload);
        expect(to.frames).toHaveLength(5);
        to.frames.forEach((frame, i) => {
          expect(faultsOf(frame)).toEqual([]);
          expect(faultsOf(frame, innerNetworkOffset)).toEqual([]);
          expect(get16(frame, outerTransportOffset + 6) === 0).toBe(!outerChecksum);
          if (outer === 4) expect(get16(frame, 14 + 4)).toBe(9 + i);
        });
        const parts = to.frames.map((frame) => frame.subarray(made.payloadAt + shift));
        expect(Buffer.compare(Buffer.concat(parts), payload)).toBe(0);
      }
    }
  });

  it('are not made for who takes the frame', () => {
    const each = [
      ['tcp', 4, 'tcp4'],
      ['tcp', 6, 'tcp6'],
      ['udp', 4, 'udp4'],
      ['udp', 6, 'udp6'],
    ] as const;
    for (const [protocol, version, name] of each) {
      const options: PacketOptions = { version, protocol, payload: bytes(3000) };
      const made = packet(options);
      const offload = offloadOf(options, made, 1000);
      const { to, link } = joined({ ...noOffloads, checksum: true, [name]: true });
      link.send(made.frame, offload);
      expect(to.frames).toEqual([made.frame]);
      to.takes = { ...allOffloads, [name]: false };
      link.send(made.frame, offload);
      expect(to.frames).toHaveLength(4);
      to.takes = { ...allOffloads, ecn: false };
      link.send(made.frame, { ...offload, ecn: true });
      expect(to.frames).toHaveLength(7);
    }
  });
});

describe('offloads that lie', () => {
  const options: PacketOptions = { version: 4, protocol: 'tcp', payload: bytes(3000) };
  const made = packet(options);
  const right = offloadOf(options, made, 1000);
  const udp: PacketOptions = { version: 6, protocol: 'udp', payload: bytes(3000) };
  const datagram = packet(udp);
  const plain = { ...right, segmentation: segmentation.NONE };
  const tunnel = { ipv6: false, outerChecksum: false, outerTransportOffset: 34, innerNetworkOffset: 60 };

  const lies: Record<string, [Uint8Array, Offload]> = {
    'a checksum behind the end': [made.frame, { ...plain, checksumStart: 5000 }],
    'a checksum that ends behind the end': [made.frame, { ...plain, checksumOffset: 3020 - 1 }],
    'a tunnel with nothing to cut': [made.frame, { ...plain, tunnel }],
    'no checksum to complete': [made.frame, { ...right, needsChecksum: false }],
    'segments of no size': [made.frame, { ...right, segmentSize: 0 }],
    'too many segments': [packet({ ...options, payload: bytes(60_000) }).frame, { ...right, segmentSize: 7 }],
    'another version': [made.frame, { ...right, segmentation: segmentation.TCP6 }],
    'another protocol': [made.frame, { ...right, segmentation: segmentation.UDP }],
    'TCP where UDP is': [
      datagram.frame,
      { ...offloadOf(udp, datagram, 100), segmentation: segmentation.TCP6 },
    ],
    'fragments of no size': [
      datagram.frame,
      { ...offloadOf(udp, datagram, 7), segmentation: segmentation.UDP_FRAGMENTS },
    ],
    'a checksum elsewhere': [made.frame, { ...right, checksumStart: 50 }],
    'a checksum at another place': [made.frame, { ...right, checksumOffset: 6 }],
    'headers that are cut short': [made.frame.subarray(0, 50), right],
    'no IP at all': [new Uint8Array(2000), right],
    'a tunnel that is none': [made.frame, { ...right, tunnel }],
    'a kind that does not exist': [
      made.frame,
      // As no sender of ours may say.
      { ...right, segmentation: 2 as unknown as Offload['segmentation'] },
    ],
  };

  it.each(Object.keys(lies))('are dropped and counted: %s', (name) => {
    const [frame, offload] = lies[name]!;
    for (const takes of [noOffloads, allOffloads]) {
      const { to, link, cable } = joined(takes);
      expect(link.send(frame, offload)).toBe(true);
      expect(to.frames).toHaveLength(0);
      expect(cable.fromFirst.malformed).toBe(1);
    }
  });

  it('never throw, and never make more than is bounded, whatever is in frame and offload', () => {
    const random = randomNumbers(11);
    const seeds = [made.frame, datagram.frame, inTunnel(6, made).frame];
    for (let round = 0; round < 4000; round++) {
      const frame = seeds[random(3)]!.slice(0, random(4) === 0 ? random(3100) : undefined);
      for (let i = random(4); i > 0; i--) frame[random(Math.min(120, frame.length || 1))] = random(256);
      const any = (): number => (random(2) === 0 ? random(120) : random(0x10000));
      const offload: Offload = {
        needsChecksum: random(8) > 0,
        checksumStart: random(2) === 0 ? made.transportAt : any(),
        checksumOffset: random(2) === 0 ? 16 : any(),
        checksumValid: false,
        segmentation: ([0, 1, 3, 4, 5] as const)[random(5)]!,
        segmentSize: random(2) === 0 ? 1000 : any(),
        headerLength: any(),
        ecn: random(2) === 0,
        tunnel:
          random(3) > 0
            ? undefined
            : {
                ipv6: false,
                outerChecksum: random(2) === 0,
                outerTransportOffset: any(),
                innerNetworkOffset: any(),
              },
      };
      const { to, link } = joined();
      expect(link.send(frame, offload)).toBe(true);
      expect(to.frames.length).toBeLessThanOrEqual(8192);
    }
  });
});
