import { describe, expect, it, vi } from 'vitest';
import type { ChannelListener } from './channel.ts';
import type { Descriptor } from './descriptors.ts';
import { channelPair, InMemoryDescriptors } from './in-memory.ts';

function recorder(): ChannelListener & {
  readonly bytes: number[];
  readonly descriptors: Descriptor[];
  ended: number;
} {
  return {
    bytes: [],
    descriptors: [],
    ended: 0,
    received(bytes, descriptors) {
      this.bytes.push(...bytes);
      this.descriptors.push(...descriptors);
    },
    closed() {
      this.ended++;
    },
  };
}

describe('a pair of channels', () => {
  it('carries bytes in order, those from before the listener too, then the end', async () => {
    const [left, right] = channelPair();
    const heard = recorder();
    left.send(Uint8Array.of(1, 2));
    right.listen(heard);
    left.send(Uint8Array.of(3));
    left.close();
    left.send(Uint8Array.of(4));
    await vi.waitFor(() => expect(heard.ended).toBe(1));
    expect(heard.bytes).toEqual([1, 2, 3]);
  });

  it('hands over copies of descriptors, and closes those that nobody heard of', () => {
    const host = new InMemoryDescriptors();
    const [left, right] = channelPair();
    const event = host.createEvent();
    left.send(Uint8Array.of(1), [event]);
    expect(host.open).toBe(2);
    right.close();
    left.send(Uint8Array.of(1), [event]);
    event.close();
    event.close();
    expect(host.open).toBe(0);
  });
});

describe('descriptors in memory', () => {
  it('tell a watcher of signals, of one from before it as well, until it ends', async () => {
    const host = new InMemoryDescriptors();
    const event = host.createEvent();
    host.signal(event);
    const happened = vi.fn();
    const stop = host.watch(event, happened);
    await vi.waitFor(() => expect(happened).toHaveBeenCalledTimes(1));
    host.signal(event);
    host.signal(event);
    await vi.waitFor(() => expect(happened).toHaveBeenCalledTimes(2));
    stop();
    host.signal(event);
    await Promise.resolve();
    expect(happened).toHaveBeenCalledTimes(2);
    expect(host.watched).toBe(0);
  });

  it('map the same bytes everywhere, within bounds', () => {
    const host = new InMemoryDescriptors();
    const memory = host.createMemory(4096);
    const one = host.map(memory, 0, 4096);
    const two = host.map(memory, 8, 8);
    new Uint8Array(one.pieces[0]?.buffer ?? new ArrayBuffer(0))[8] = 7;
    expect(new Uint8Array(two.pieces[0]?.buffer ?? new ArrayBuffer(0), two.pieces[0]?.byteOffset, 8)[0]).toBe(
      7,
    );
    expect(host.mapped).toBe(2);
    for (const mapping of [one, two]) mapping.close();
    expect(host.mapped).toBe(0);
    expect(() => host.map(memory, 4090, 8)).toThrow(/fewer/);
    expect(() => host.map(host.createEvent(), 0, 1)).toThrow(/no memory/);
  });

  it('make connections of descriptors, and end those that nobody opened', async () => {
    const host = new InMemoryDescriptors();
    const { channel, other } = host.createChannel();
    const [near, far] = [recorder(), recorder()];
    channel.listen(near);
    expect(() => host.watch(other, () => {})).toThrow(/no event/);
    const opened = host.openChannel(other);
    opened.listen(far);
    channel.send(Uint8Array.of(5));
    opened.send(Uint8Array.of(6));
    await vi.waitFor(() => expect([...near.bytes, ...far.bytes]).toEqual([6, 5]));
    expect(host.open).toBe(0);
    expect(() => host.openChannel(other)).toThrow(/no connection/);
    const unopened = host.createChannel();
    const heard = recorder();
    unopened.channel.listen(heard);
    unopened.other.close();
    await vi.waitFor(() => expect(heard.ended).toBe(1));
    expect(() => host.openChannel(host.createEvent())).toThrow(/no connection/);
    expect(host.open).toBe(0);
  });
});
