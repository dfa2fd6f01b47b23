import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { finished, type Link, noOffloads, type Offload, segmentation } from 'virtio/link';
import { describe, expect, it, vi } from 'vitest';
import { openTap, type Tap } from '../index.ts';
import { flowOf } from './flow.ts';
import { headerLength, ReadOffload, writeOffload } from './header.ts';

/** Another name for each process, so that two of them do not meet. */
const name = `vt${process.pid}`;
const address = `198.18.${process.pid & 255}`;

/** Why there is no tap interface here. */
function obstacle(): string | undefined {
  try {
    openTap(name).close();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return spawnSync('ip', ['-V']).status === 0 ? undefined : 'there is no program ip here';
}
const why = obstacle();

const ip = (...args: string[]): void => {
  const { status, stderr } = spawnSync('ip', args);
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
};

/** The other end of the interface's link. */
class OtherEnd implements Link {
  readonly up = true;
  takes = noOffloads;
  hasRoom = true;
  refused = 0;
  readonly frames: { readonly frame: Buffer; readonly offload: Offload | undefined }[] = [];

  send(frame: Uint8Array, offload?: Offload): boolean {
    if (!this.hasRoom) {
      this.refused++;
      return false;
    }
    this.frames.push({ frame: Buffer.from(frame), offload: offload && { ...offload } });
    return true;
  }

  room(): void {}

  /** UDP to this port, as it came. */
  to(port: number): readonly { readonly frame: Buffer; readonly offload: Offload | undefined }[] {
    return this.frames.filter(
      ({ frame }) => frame.readUInt16BE(12) === 0x0800 && frame.readUInt16BE(36) === port,
    );
  }
}

describe.skipIf(why !== undefined)(`a tap interface${why === undefined ? '' : ` (not here: ${why})`}`, () => {
  it('gives what the kernel sends, unfinished where that is taken, and takes what the kernel is to get', async () => {
    const other = new OtherEnd();
    let gone: unknown;
    const tap: Tap = openTap(name, { onError: (error) => (gone = error) });
    expect(tap.name).toBe(name);
    expect(tap.endpoint.takes).toMatchObject({ checksum: true, tcp4: true, tcp6: true, ecn: true });
    expect(() => openTap(name)).toThrow(/in use: another program/);
    ip('address', 'add', `${address}.1/24`, 'dev', name);
    ip('link', 'set', name, 'address', '02:00:00:00:00:01', 'up');
    ip('neighbour', 'add', `${address}.2`, 'lladdr', '02:00:00:00:00:02', 'dev', name);
    tap.endpoint.attached(other);
    const socket = createSocket('udp4');
    try {
      socket.bind(0, `${address}.1`);
      await once(socket, 'listening');
      const say = (text: string): void => socket.send(text, 7, `${address}.2`);
      say('finished');
      await vi.waitFor(() => expect(other.to(7).length).toBe(1), 30_000);
      const { frame, offload } = other.to(7)[0] ?? { frame: Buffer.alloc(0), offload: undefined };
      expect(frame.subarray(0, 14).toString('hex')).toBe('0200000000020200000000010800');
      expect(frame.subarray(42).toString()).toBe('finished');
      expect(offload).toMatchObject({ needsChecksum: false, segmentation: segmentation.NONE });

      // A frame waits here while nobody has room, and those behind it in the kernel.
      other.takes = { ...noOffloads, checksum: true };
      other.hasRoom = false;
      other.frames.length = 0;
      for (const text of ['one', 'two', 'three']) say(text);
      await vi.waitFor(() => expect(other.refused).toBe(1), 30_000);
      other.hasRoom = true;
      tap.endpoint.room();
      await vi.waitFor(() => expect(other.to(7).length).toBe(3), 30_000);
      expect(other.to(7).map(({ frame }) => frame.subarray(42).toString())).toEqual(['one', 'two', 'three']);
      say('unfinished');
      await vi.waitFor(() => expect(other.to(7).length).toBe(4), 30_000);
      expect(other.to(7)[3]?.offload).toMatchObject({
        needsChecksum: true,
        checksumStart: 34,
        checksumOffset: 6,
      });

      // Back to the socket, the other way round: the kernel is left its checksum, and looks at it.
      const { frame: last = Buffer.alloc(0), offload: left } = other.to(7)[3] ?? {};
      const answer = Buffer.concat([
        last.subarray(6, 12),
        last.subarray(0, 6),
        last.subarray(12, 26),
        last.subarray(30, 34),
        last.subarray(26, 30),
        last.subarray(36, 38),
        last.subarray(34, 36),
        last.subarray(38),
      ]);
      const heard = once(socket, 'message');
      expect(tap.endpoint.receive(answer, left ?? expect.fail('it had an offload'))).toBe(true);
      const [bytes] = await heard;
      expect(bytes.toString()).toBe('unfinished');

      ip('link', 'delete', name);
      await vi.waitFor(() => expect(gone).toMatchObject({ message: expect.stringMatching(/gone/) }), 30_000);
    } finally {
      socket.close();
      tap.close();
      tap.close();
    }
    expect(tap.endpoint.receive(Buffer.alloc(60), finished)).toBe(true);
  });
});

it('says how many queues there can be', () => {
  for (const queues of [0, 257, 1.5]) {
    expect(() => openTap('some', { queues })).toThrow(/give 1 to 256/);
  }
});

it('keeps a flow together, fragments too, and tells flows apart', () => {
  const packet = (change: (frame: Buffer) => void = () => {}): Buffer => {
    const frame = Buffer.alloc(64);
    frame.writeUInt16BE(0x0800, 12);
    frame[14] = 0x45;
    frame.writeUInt16BE(50, 16);
    frame.set([17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, 1, 0, 2, 0], 23);
    change(frame);
    return frame;
  };
  const flow = flowOf(packet());
  expect(flowOf(packet((frame) => frame.fill(7, 42)))).toBe(flow);
  expect(flowOf(packet((frame) => frame.writeUInt8(9, 36)))).not.toBe(flow);
  expect(flowOf(packet((frame) => frame.writeUInt8(9, 29)))).not.toBe(flow);
  const [first, second] = [0x2000, 0x0001].map((at) =>
    flowOf(
      packet((frame) => {
        frame.writeUInt16BE(at, 20);
        frame.writeUInt16BE(at, 34);
      }),
    ),
  );
  expect(first).toBe(second);
  expect(flowOf(Buffer.alloc(14))).toBe(0);
  expect(flowOf(packet().subarray(0, 30))).toBe(0);
});

it('says what is no name of an interface', () => {
  for (const bad of ['', 'a b', 'a/b', 'sixteen-letters-'])
    expect(() => openTap(bad)).toThrow(/no name of an interface/);
});

it('says to the kernel what is left to do, and hears it, field by field', () => {
  const header = new DataView(new ArrayBuffer(headerLength));
  const offload: Offload = {
    needsChecksum: true,
    checksumStart: 34,
    checksumOffset: 16,
    checksumValid: false,
    segmentation: segmentation.TCP4,
    segmentSize: 1448,
    headerLength: 66,
    ecn: true,
    tunnel: undefined,
  };
  writeOffload(header, offload);
  expect(Buffer.from(header.buffer).toString('hex')).toBe('01814200a80522001000');
  const read = new ReadOffload();
  expect(read.read(header)).toBe(true);
  expect({ ...read }).toEqual(offload);
  header.setUint8(1, 2);
  expect(read.read(header)).toBe(false);
});
