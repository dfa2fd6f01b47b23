import { createHash } from 'node:crypto';
import type { Channel, MappedMemory } from 'virtio/channel';
import { describe, expect, it, vi } from 'vitest';
import { NodeDescriptors } from './descriptors.ts';
import { openDescriptors, sharedMappings } from './open-things.fixture.ts';
import { connectedPair, freshPath, Heard } from './pair.fixture.ts';
import { connectUnix, listenUnix } from './unix.ts';

const host = new NodeDescriptors();

function bytesOf({ pieces }: MappedMemory): Uint8Array {
  const [{ buffer, byteOffset, byteLength } = { buffer: new ArrayBuffer(0) }] = pieces;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

describe('a channel', () => {
  it('carries megabytes in order, whatever they are cut into, while nobody reads at first', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    const hash = createHash('sha256');
    let length = 0;
    for (let size = 1; length < 8 * 2 ** 20; size = (size * 7 + 3) % 200_003) {
      const bytes = new Uint8Array(size).map((_, at) => (length + at) % 251);
      hash.update(bytes);
      length += size;
      left.send(bytes);
      bytes.fill(0); // taken over already
    }
    left.close();
    right.listen(heard);
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect(heard.error).toBeUndefined();
    expect(heard.length).toBe(length);
    expect(createHash('sha256').update(heard.bytes).digest('hex')).toBe(hash.digest('hex'));
  });

  it('hands memory and events over in both directions, with their bytes', async () => {
    const [left, right] = await connectedPair();
    const [heardLeft, heardRight] = [new Heard(), new Heard()];
    left.listen(heardLeft);
    right.listen(heardRight);
    const memory = host.createMemory(4096);
    const event = host.createEvent();
    left.send(Uint8Array.of(1), [memory, event]);
    memory.close();
    await vi.waitFor(() => expect(heardRight.descriptors).toHaveLength(2));
    const [memoryThere, eventThere] = heardRight.descriptors;
    if (memoryThere === undefined || eventThere === undefined) throw new Error('no descriptors');
    right.send(Uint8Array.of(2), [memoryThere]);
    await vi.waitFor(() => expect(heardLeft.descriptors).toHaveLength(1));
    const [memoryHere] = heardLeft.descriptors;
    if (memoryHere === undefined) throw new Error('no memory');
    const [there, here] = [host.map(memoryThere, 0, 4096), host.map(memoryHere, 0, 4096)];
    bytesOf(there)[9] = 42;
    expect(bytesOf(here)[9]).toBe(42);
    const happened = vi.fn();
    const stop = host.watch(event, happened);
    host.signal(eventThere);
    await vi.waitFor(() => expect(happened).toHaveBeenCalledTimes(1));
    stop();
    for (const each of [there, here, event, left, right]) each.close();
    heardLeft.closeDescriptors();
    heardRight.closeDescriptors();
  });

  it('keeps copies of descriptors while they wait behind bytes', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    left.send(new Uint8Array(2 ** 20));
    const memory = host.createMemory(4096);
    left.send(Uint8Array.of(7), [memory]);
    memory.close();
    left.send(Uint8Array.of(8));
    left.close();
    right.listen(heard);
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect(heard.length).toBe(2 ** 20 + 2);
    expect(heard.descriptors).toHaveLength(1);
    heard.closeDescriptors();
  });

  it('takes a hundred descriptors from a hostile peer, and gives up on more than a message holds', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    right.listen(heard);
    const event = host.createEvent();
    left.send(Uint8Array.of(1), new Array(253).fill(event));
    await vi.waitFor(() => expect(heard.descriptors).toHaveLength(253));
    expect(() => left.send(Uint8Array.of(1), new Array(254).fill(event))).toThrow(/more than go at once/);
    expect(() => left.send(new Uint8Array(0), [event])).toThrow(/a byte at least/);
    heard.closeDescriptors();
    event.close();
    expect(() => left.send(Uint8Array.of(1), [event])).toThrow(/closed/);
    for (const each of [left, right]) each.close();
  });

  it('hears the last words of a peer that went while it was sent to', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    left.listen(heard);
    right.send(Uint8Array.of(1, 2, 3));
    right.close();
    left.send(Uint8Array.of(4));
    left.send(Uint8Array.of(5));
    expect(heard.ends).toBe(0);
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect([...heard.bytes]).toEqual([1, 2, 3]);
    expect(heard.error).toBeUndefined();
    left.send(Uint8Array.of(6));
    left.close();
  });

  it('gives up on a peer that never reads', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    left.listen(heard);
    for (let count = 0; count < 70; count++) left.send(new Uint8Array(2 ** 20));
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect(heard.error).toMatchObject({ code: 'IO_ERROR' });
    expect(heard.error?.message).toMatch(/does not read/);
    right.close();
  });

  it('gives up on a peer that does not read many small messages', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    left.listen(heard);
    for (let count = 0; count < 70_000; count++) left.send(Uint8Array.of(1));
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect(heard.error?.message).toMatch(/does not read: 65537 messages/);
    right.close();
  });

  it('waits for a peer that does not read when it is closed, and for none when it is aborted', async () => {
    const before = openDescriptors();
    const [left, right] = await connectedPair();
    left.send(new Uint8Array(2 ** 20));
    left.close();
    expect(openDescriptors()).toBe(before + 2);
    left.abort();
    left.abort();
    expect(openDescriptors()).toBe(before + 1);
    right.close();
    expect(openDescriptors()).toBe(before);
  });

  it('has one listener, and says nothing after its own close', async () => {
    const [left, right] = await connectedPair();
    const heard = new Heard();
    left.listen(heard);
    expect(() => left.listen(heard)).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
    right.send(Uint8Array.of(1));
    left.close();
    left.close();
    const other = new Heard();
    right.listen(other);
    await vi.waitFor(() => expect(other.ends).toBe(1));
    expect(heard).toMatchObject({ length: 0, ends: 0 });
  });

  it('may be closed by its listener in the middle of what comes', async () => {
    const [left, right] = await connectedPair();
    for (let count = 0; count < 40; count++) left.send(new Uint8Array(64 * 1024));
    let heard = 0;
    right.listen({
      received() {
        heard++;
        right.close();
      },
      closed: () => expect.unreachable(),
    });
    await vi.waitFor(() => expect(heard).toBe(1));
    const end = new Heard();
    left.listen(end);
    await vi.waitFor(() => expect(end.ends).toBe(1));
    expect(heard).toBe(1);
  });
});

it('leaves nothing behind after a thousand connections with descriptors and mappings', async () => {
  const path = freshPath();
  const served = new Set<Channel>();
  const listening = listenUnix(path, (channel) => {
    served.add(channel);
    channel.listen({
      received(_bytes, descriptors) {
        const [memory, event] = descriptors;
        if (memory === undefined || event === undefined) throw new Error('no descriptors');
        const mapped = host.map(memory, 0, 8192);
        const stop = host.watch(event, () => {
          stop();
          bytesOf(mapped)[0] = 1;
          mapped.close();
          for (const each of descriptors) each.close();
          channel.send(Uint8Array.of(1));
        });
      },
      closed: () => void served.delete(channel),
    });
  });
  const connection = async (): Promise<void> => {
    const channel = connectUnix(path);
    const memory = host.createMemory(8192);
    const event = host.createEvent();
    const mapped = host.map(memory, 0, 8192);
    const heard = new Heard();
    channel.listen(heard);
    channel.send(Uint8Array.of(0), [memory, event]);
    host.signal(event);
    await vi.waitFor(() => expect(heard.length).toBe(1), { interval: 1 });
    expect(bytesOf(mapped)[0]).toBe(1);
    for (const each of [mapped, memory, event, channel]) each.close();
  };
  await connection();
  await vi.waitFor(() => expect(served.size).toBe(0));
  const before = openDescriptors();
  for (let count = 0; count < 1000; count += 10) await Promise.all(Array.from({ length: 10 }, connection));
  await vi.waitFor(() => expect(served.size).toBe(0));
  await vi.waitFor(() => expect(sharedMappings()).toBe(0));
  // The test runner has sockets of its own that come and go.
  await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 10));
  listening.close();
}, 60_000);
