import { describe, expect, it } from 'vitest';
import { connect } from './cable.ts';
import { finished } from './offload.ts';
import { offloadOf, type PacketOptions, packet } from './packets.fixture.ts';
import { RecordingEnd } from './recording-end.fixture.ts';
import { Switch, type SwitchOptions } from './switch.ts';

const broadcast = 0xffff_ffff_ffff;

function frame(to: number, from: number, length = 60): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(to / 2 ** 32));
  view.setUint32(2, to % 2 ** 32);
  view.setUint16(6, Math.floor(from / 2 ** 32));
  view.setUint32(8, from % 2 ** 32);
  view.setUint16(12, 0x88b5);
  return bytes;
}

/** Ends at a switch's ports. */
function ends(count: number, options?: SwitchOptions) {
  const hub = new Switch(options);
  const made = Array.from({ length: count }, () => {
    const end = new RecordingEnd();
    const port = hub.port();
    const cable = connect(end, port);
    return { end, port, cable };
  });
  return { hub, made, got: () => made.map(({ end }) => end.frames.length) };
}

describe('a switch', () => {
  it('floods what it does not know, and learns from where frames come', () => {
    const { hub, made, got } = ends(3);
    made[0]!.end.link.send(frame(0x2_0000_0000, 0xa0));
    expect(got()).toEqual([0, 1, 1]);
    made[1]!.end.link.send(frame(0xa0, 0x2_0000_0000));
    expect(got()).toEqual([1, 1, 1]);
    made[0]!.end.link.send(frame(0x2_0000_0000, 0xa0));
    expect(got()).toEqual([1, 2, 1]);
    made[2]!.end.link.send(frame(broadcast, 0xc0));
    expect(got()).toEqual([2, 3, 1]);
    expect(hub.known).toBe(3);
  });

  it('follows an address to another port, and sends nothing back where it came from', () => {
    const { made, got } = ends(3);
    made[0]!.end.link.send(frame(broadcast, 0xa0));
    made[1]!.end.link.send(frame(0xa0, 0xa0));
    expect(got()).toEqual([0, 1, 1]);
    made[2]!.end.link.send(frame(0xa0, 0xc0));
    expect(got()).toEqual([0, 2, 1]);
  });

  it('forgets addresses that age, and those of a port that is cut or taken out', () => {
    let now = 0;
    const { hub, made, got } = ends(3, { ageing: 5000, now: () => now });
    made[0]!.end.link.send(frame(broadcast, 0xa0));
    now = 4000;
    made[1]!.end.link.send(frame(0xa0, 0xb0));
    expect(got()).toEqual([1, 1, 1]);
    now = 5000;
    made[1]!.end.link.send(frame(0xa0, 0xb0));
    expect(got()).toEqual([2, 1, 2]);
    made[0]!.end.link.send(frame(0xb0, 0xa0));
    expect(hub.known).toBe(2);
    made[1]!.cable.cut();
    expect(hub.known).toBe(1);
    made[0]!.port.remove();
    expect(hub.known).toBe(0);
    made[2]!.end.link.send(frame(broadcast, 0xc0));
    expect(got()).toEqual([2, 2, 2]);
    made[0]!.end.link.send(frame(broadcast, 0xa0));
    expect(got()).toEqual([2, 2, 2]);
  });

  it('bounds what it knows of each port, so that a flood of addresses displaces none of others', () => {
    const { hub, made, got } = ends(2, { addressesPerPort: 16 });
    made[1]!.end.link.send(frame(broadcast, 0xb0));
    for (let i = 0; i < 1000; i++) made[0]!.end.link.send(frame(0xb0, 0x1000 + i * 2));
    expect(hub.known).toBe(17);
    expect(got()).toEqual([1, 1000]);
  });

  it('neither learns from a group nor forwards what is for neighbours of a link', () => {
    const { hub, made, got } = ends(2);
    made[0]!.end.link.send(frame(0x0180_c200_000e, 0xa0));
    expect(got()).toEqual([0, 0]);
    made[0]!.end.link.send(frame(broadcast, broadcast));
    expect(hub.known).toBe(1);
    expect(got()).toEqual([0, 1]);
  });

  it('keeps what a slow port has no room for, up to its bound, and stalls nobody', () => {
    const { made, got } = ends(3, { queue: 600 });
    made[1]!.end.space = 1;
    for (let i = 0; i < 20; i++) expect(made[0]!.end.link.send(frame(broadcast, 0xa0))).toBe(true);
    expect(got()).toEqual([0, 1, 20]);
    expect(made[1]!.port.lost).toBe(9);
    made[1]!.end.makeRoom(4);
    expect(got()).toEqual([0, 5, 20]);
    made[0]!.end.link.send(frame(broadcast, 0xa0, 61));
    made[1]!.end.makeRoom(100);
    expect(made[1]!.end.frames).toHaveLength(12);
    expect(made[1]!.end.frames.at(-1)).toHaveLength(61);
    expect(made[1]!.port).toMatchObject({ sent: 12, lost: 9 });
    made[1]!.end.space = 0;
    made[0]!.end.link.send(frame(broadcast, 0xa0));
    made[1]!.cable.cut();
    made[1]!.cable.mend();
    made[1]!.end.makeRoom(9);
    expect(made[1]!.port).toMatchObject({ sent: 12, lost: 10 });
  });

  it('carries unfinished frames as they are, and each cable finishes them for its end', () => {
    const { made } = ends(2);
    const options: PacketOptions = { version: 4, protocol: 'tcp', payload: new Uint8Array(3000) };
    const whole = packet(options);
    made[1]!.end.space = 0;
    made[0]!.end.link.send(whole.frame, offloadOf(options, whole, 1000));
    made[1]!.end.makeRoom(1);
    made[1]!.end.makeRoom(5);
    expect(made[1]!.end.frames.map(({ length }) => length)).toEqual([1054, 1054, 1054]);
  });

  it('cuts off what goes round in a loop', () => {
    const { hub, made, got } = ends(2);
    connect(hub.port(), hub.port());
    made[0]!.end.link.send(frame(broadcast, 0xa0));
    expect(hub.looped).toBeGreaterThan(0);
    expect(got()[1]).toBeGreaterThan(0);
  });

  it('refuses bounds that are none', () => {
    for (const options of [{ ageing: 0 }, { queue: Number.NaN }, { addressesPerPort: -1 }]) {
      expect(() => new Switch(options)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    }
    expect(ends(1).made[0]!.port.receive(new Uint8Array(5), finished)).toBe(true);
  });
});
