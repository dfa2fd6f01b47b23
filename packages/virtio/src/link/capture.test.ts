import { describe, expect, it } from 'vitest';
import { connect } from './cable.ts';
import { Capture } from './capture.ts';
import { checked } from './offload.ts';
import { offloadOf, type PacketOptions, packet } from './packets.fixture.ts';
import { packetFlags } from './pcapng.ts';
import { RecordingEnd } from './recording-end.fixture.ts';

interface Block {
  readonly type: number;
  readonly body: Uint8Array;
}

/** The blocks of a file, each with its length at both ends. */
function blocksOf(file: Uint8Array): Block[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const blocks: Block[] = [];
  for (let at = 0; at < file.length; ) {
    const length = view.getUint32(at + 4, true);
    expect(length % 4).toBe(0);
    expect(view.getUint32(at + length - 4, true)).toBe(length);
    blocks.push({ type: view.getUint32(at, true), body: file.slice(at + 8, at + length - 4) });
    at += length;
  }
  return blocks;
}

function optionsOf(body: Uint8Array, from: number): Map<number, Uint8Array> {
  const view = new DataView(body.buffer);
  const options = new Map<number, Uint8Array>();
  for (let at = from; ; ) {
    const code = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if (code === 0) {
      expect(at + 4).toBe(body.length);
      return options;
    }
    options.set(code, body.slice(at + 4, at + 4 + length));
    at += 4 + ((length + 3) & ~3);
  }
}

function packetsOf(file: Uint8Array) {
  return blocksOf(file)
    .filter(({ type }) => type === 6)
    .map(({ body }) => {
      const view = new DataView(body.buffer);
      const kept = view.getUint32(12, true);
      const flags = optionsOf(body, 20 + ((kept + 3) & ~3)).get(2)!;
      return {
        interface: view.getUint32(0, true),
        time: (BigInt(view.getUint32(4, true)) << 32n) | BigInt(view.getUint32(8, true)),
        length: view.getUint32(16, true),
        frame: body.slice(20, 20 + kept),
        flags: new DataView(flags.buffer).getUint32(0, true),
      };
    });
}

function captured(options: { snapLength?: number } = {}) {
  const pieces: Uint8Array[] = [];
  let time = 1_764_000_000_123_456_789n;
  const capture = new Capture({
    write: (piece) => pieces.push(piece),
    now: () => time++,
    application: 'tests',
    ...options,
  });
  return { capture, file: () => new Uint8Array(Buffer.concat(pieces)) };
}

const frame = (length: number): Uint8Array => new Uint8Array(length).fill(length);

describe('a capture', () => {
  it('begins with its section, then its interfaces', () => {
    const { capture, file } = captured({ snapLength: 96 });
    capture.interface('guest', 'to the network');
    const [section, link] = blocksOf(file());
    expect(section!.type).toBe(0x0a0d0d0a);
    expect([...section!.body.subarray(0, 16)]).toEqual([
      0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
    ]);
    expect(Buffer.from(optionsOf(section!.body, 16).get(4)!).toString()).toBe('tests');
    expect(link!.type).toBe(1);
    expect([...link!.body.subarray(0, 8)]).toEqual([1, 0, 0, 0, 96, 0, 0, 0]);
    const options = optionsOf(link!.body, 8);
    expect(Buffer.from(options.get(2)!).toString()).toBe('guest');
    expect(Buffer.from(options.get(3)!).toString()).toBe('to the network');
    expect([...options.get(9)!]).toEqual([9]);
  });

  it('has the frames of both ways, with time, direction and what is left to do', () => {
    const { capture, file } = captured();
    const [a, b, c] = [new RecordingEnd(), new RecordingEnd(), new RecordingEnd()];
    connect(a, b, { watcher: capture.interface('one') });
    connect(new RecordingEnd(), c, { watcher: capture.interface('two') });
    const options: PacketOptions = { version: 4, protocol: 'tcp', payload: frame(2000) };
    const made = packet(options);
    a.link.send(frame(61));
    b.link.send(frame(62), checked);
    a.link.send(made.frame, offloadOf(options, made, 1000));
    c.link.send(frame(63));
    const packets = packetsOf(file());
    const { INBOUND, OUTBOUND, CHECKSUM_NOT_READY, CHECKSUM_VALID, SEGMENTATION_OFFLOADED } = packetFlags;
    expect(packets.map(({ flags }) => flags)).toEqual([
      OUTBOUND,
      INBOUND | CHECKSUM_VALID,
      OUTBOUND | CHECKSUM_NOT_READY | SEGMENTATION_OFFLOADED,
      INBOUND,
    ]);
    expect(packets.map((each) => each.interface)).toEqual([0, 0, 0, 1]);
    expect(packets[0]!.time).toBe(1_764_000_000_123_456_789n);
    expect(packets[2]!.frame).toEqual(made.frame);
    expect(b.frames).toHaveLength(3);
  });

  it('keeps as much of a frame as was asked for', () => {
    const { capture, file } = captured({ snapLength: 30 });
    const a = new RecordingEnd();
    connect(a, new RecordingEnd(), { watcher: capture.interface('one') });
    a.link.send(frame(61));
    a.link.send(frame(29));
    expect(packetsOf(file()).map((each) => [each.length, each.frame.length])).toEqual([
      [61, 30],
      [29, 29],
    ]);
  });

  it('has each frame once, though it was refused first, and answers behind what they answer', () => {
    const { capture, file } = captured();
    const [a, b] = [new RecordingEnd(), new RecordingEnd()];
    connect(a, b, { watcher: capture.interface('one') });
    b.space = 0;
    expect(a.link.send(frame(60))).toBe(false);
    expect(packetsOf(file())).toEqual([]);
    b.onFrame = (given) => {
      if (given.length < 63) a.link.send(frame(given.length + 1));
      if (given.length === 60) b.link.send(frame(80));
    };
    b.makeRoom(9);
    a.link.send(frame(60));
    expect(packetsOf(file()).map(({ length }) => length)).toEqual([60, 61, 62, 63, 80]);
  });
});
