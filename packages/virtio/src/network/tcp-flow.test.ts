import { describe, expect, it } from 'vitest';
import { connect } from '../link/index.ts';
import { userNetwork } from './network.ts';
import { Station } from './station.ts';
import { HandUplink } from './uplink.fixture.ts';

async function joined() {
  const uplink = new HandUplink();
  const network = userNetwork({ uplink });
  const station = new Station({ takes: network.takes });
  /** Of frames to the guest with payload, what they have. */
  const lengths: number[] = [];
  connect(network, station, {
    watcher: {
      sent(frame, _offload, fromFirst) {
        if (fromFirst && frame.length > 100) lengths.push(frame.length);
      },
      refused() {},
      taken() {},
    },
  });
  const stream = await station.connect('10.0.2.2', 80);
  lengths.length = 0;
  return { lengths, network, stream, far: uplink.streams[0]! };
}

describe('a connection and the stream outside', () => {
  it('goes on with the tail of a full piece when the next comes, and ends with no tail left', async () => {
    const { far, lengths, network, stream } = await joined();
    const received = (async () => {
      let length = 0;
      for await (const bytes of stream) length += bytes.length;
      return length;
    })();
    const piece = new Uint8Array(65_536);
    let pieces = 1;
    while (far.user.write(piece, true)) pieces++;
    expect(pieces).toBeGreaterThan(2);
    far.user.end();
    stream.end();
    expect(await received).toBe(pieces * piece.length);
    // The last tail, and what a window had no more room for.
    expect(lengths.filter((length) => length < 1000).length).toBeLessThanOrEqual(2);
    network.close();
  });

  it('sends the tail of a full piece when nothing follows', async () => {
    const { far, lengths, network } = await joined();
    /** Bytes of payload that were sent: headers of Ethernet, IP, and TCP with timestamps go in front. */
    const sent = (): number => lengths.reduce((sum, length) => sum + length - 66, 0);
    // Less than a window that is new, whose every byte may be under way.
    const piece = new Uint8Array(10_000);
    far.user.write(piece, true);
    expect(sent()).toBeLessThan(piece.length);
    far.user.flush?.();
    expect(sent()).toBe(piece.length);
    far.user.write(piece, true);
    far.user.write(piece.subarray(0, 10));
    while (sent() < 2 * piece.length + 10) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(sent()).toBe(2 * piece.length + 10);
    network.close();
  });

  it('stops who writes to a guest that does not read, and lets it go on', async () => {
    const { far, network, stream } = await joined();
    const piece = new Uint8Array(65_536);
    let pieces = 1;
    while (far.user.give(piece)) {
      pieces++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(far.events).toEqual([]);
    let left = pieces * piece.length;
    while (left > 0) left -= (await stream.read())?.length ?? left;
    expect(far.events).toEqual(['room']);
    network.close();
  });

  it('holds what a guest writes when the stream outside has enough', async () => {
    const { far, network, stream } = await joined();
    far.ready = false;
    void stream.write(new Uint8Array(1 << 20)).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 5));
    const before = far.received.length;
    expect(before).toBeLessThan(1 << 20);
    far.ready = true;
    far.user.room();
    while (far.received.length < 1 << 20) await new Promise((resolve) => setTimeout(resolve, 1));
    network.close();
    expect(far.events).toEqual(['abort reset']);
  });
});
