import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  constants as modes,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { MappedMemory } from 'virtio/channel';
import { GuestMemory, maxViewLength } from 'virtio/memory';
import { describe, expect, it, vi } from 'vitest';
import { linuxCalls } from '../ffi/linux.ts';
import { NodeDescriptors } from './descriptors.ts';
import { FileDescriptor } from './file-descriptor.ts';
import { openDescriptors, sharedMappings } from './open-things.fixture.ts';
import { freshPath, Heard } from './pair.fixture.ts';

const host = new NodeDescriptors();
function bytesOf({ pieces }: MappedMemory): Uint8Array {
  const [{ buffer, byteOffset, byteLength } = { buffer: new ArrayBuffer(0) }] = pieces;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

describe('memory', () => {
  it.each([0, 8, 4096, 4104, 4097])('is mapped from %i on, the same bytes for all', (offset) => {
    const memory = host.createMemory(16384);
    const whole = host.map(memory, 0, 16384);
    const part = host.map(memory, offset, 100);
    memory.close();
    bytesOf(whole)[offset + 99] = 7;
    expect(bytesOf(part)).toHaveLength(100);
    expect(bytesOf(part)[99]).toBe(7);
    whole.close();
    part.close();
    part.close();
  });

  it('becomes regions of a guest, with words to reach atomically', () => {
    const memory = host.createMemory(8192);
    const mapped = host.map(memory, 4096, 4096);
    const guest = new GuestMemory();
    for (const piece of mapped.pieces) guest.addRegion(0x4000_0000, piece, { pinned: true, shared: true });
    guest.write(0x4000_0000, Uint8Array.of(1, 2, 3));
    expect(bytesOf(mapped).subarray(0, 3)).toEqual(Uint8Array.of(1, 2, 3));
    mapped.close();
    memory.close();
  });

  it('is cut at 4 GiB', () => {
    const length = maxViewLength + 8192;
    const memory = host.createMemory(length);
    const mapped = host.map(memory, 0, length);
    expect(mapped.pieces.map(({ byteLength }) => byteLength)).toEqual([maxViewLength, 8192]);
    const tail = host.map(memory, maxViewLength, 8192);
    const last = mapped.pieces[1] ?? { buffer: new ArrayBuffer(1) };
    new Uint8Array(last.buffer)[5] = 9;
    expect(bytesOf(tail)[5]).toBe(9);
    expect(() => host.map(memory, 1, maxViewLength)).toThrow(/multiple of 8/);
    for (const each of [mapped, tail, memory]) each.close();
  });

  it('is told apart, read and written without a mapping, and may be cut off meanwhile', () => {
    const path = freshPath();
    writeFileSync(path, 'some bytes');
    const file = host.adopt(openSync(path, 'r+'));
    const same = host.adopt(openSync(path, 'r'));
    const other = host.createMemory(4096);
    expect(host.identify(same)).toBe(host.identify(file));
    expect(host.identify(other)).not.toBe(host.identify(file));
    expect(host.identify(host.createEvent())).toBeUndefined();
    host.writeAt(file, 5, Uint8Array.of(66));
    const copy = host.duplicate(same);
    same.close();
    const target = new Uint8Array(6);
    expect([host.readAt(copy, 4, target), new TextDecoder().decode(target)]).toEqual([6, ' Bytes']);
    ftruncateSync(file.fd, 6);
    expect([host.readAt(copy, 4, target), host.readAt(copy, 4096, target)]).toEqual([2, 0]);
    expect(() => host.writeAt(copy, 0, target)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }));
    for (const each of [file, copy, other]) each.close();
    expect(() => host.readAt(copy, 0, target)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }));
    expect(host.identify(copy)).toBeUndefined();
  });

  it('cannot be shrunk by anybody once it is mapped', () => {
    const memory = FileDescriptor.from(host.createMemory(8192));
    expect(() => ftruncateSync(memory.fd, 4096)).toThrow(/EPERM/);
    memory.close();
  });

  it('of huge pages is mapped from anywhere and by whole ones, where the system has some', () => {
    const [cloexec, hugePages] = [1, 4];
    const fd = linuxCalls().memfdCreate('virtio', cloexec | hugePages);
    if (fd < 0) return; // a kernel without them
    const memory = host.adopt(fd);
    ftruncateSync(fd, 2 * fstatSync(fd).blksize);
    const before = sharedMappings();
    for (const offset of [0, 0xc_0000]) {
      try {
        const mapped = host.map(memory, offset, 4096);
        expect(mapped.pieces[0]).toMatchObject({ byteOffset: 0, byteLength: 4096 });
        mapped.close();
      } catch (error) {
        expect(error).toMatchObject({ code: 'NO_SPACE' }); // none is free
      }
    }
    expect(sharedMappings()).toBe(before);
    memory.close();
  });

  it('is out of reach once it is closed, and nothing else takes its place under a view of it', async () => {
    const length = maxViewLength + 8192;
    const memory = host.createMemory(length);
    const addressSpace = (): number =>
      Number(/VmSize:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
    // In a function of its own, so that nothing holds the views after it.
    const closed = (): number => {
      const mapped = host.map(memory, 0, length);
      const bytes = bytesOf(mapped);
      bytes[7] = 1;
      mapped.close();
      const other = host.map(memory, 0, 4096);
      expect([bytes[7], bytesOf(other)[7]]).toEqual([0, 1]);
      bytes[7] = 2;
      expect(bytesOf(other)[7]).toBe(1);
      other.close();
      return addressSpace();
    };
    const taken = closed();
    expect(sharedMappings()).toBe(0);
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    await vi.waitFor(() => {
      collect();
      expect(addressSpace()).toBeLessThan(taken - maxViewLength / 2);
    });
    memory.close();
  });

  it('is refused beyond its end, and where it is none', () => {
    const memory = host.createMemory(4096);
    expect(() => host.map(memory, 4090, 8)).toThrow(/has 4096 bytes, fewer than 4098/);
    expect(() => host.map(memory, -1, 8)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    const event = host.createEvent();
    expect(() => host.map(event, 0, 8)).toThrow(/is no memory/);
    for (const each of [memory, event]) each.close();
    expect(() => host.map(memory, 0, 8)).toThrow(/closed/);
  });

  it('that cannot be mapped is refused', () => {
    // The system would map 16 TiB that nobody has, and the engine make views of it for minutes.
    for (const length of [2 ** 44, 2 ** 50]) {
      const memory = host.createMemory(length);
      expect(() => host.map(memory, 0, length)).toThrow(expect.objectContaining({ code: 'NO_SPACE' }));
      memory.close();
    }
    const path = freshPath();
    writeFileSync(path, 'read alone');
    const file = host.adopt(openSync(path, 'r'));
    expect(() => host.map(file, 0, 4)).toThrow(/cannot be mapped \(EACCES\)/);
    file.close();
  });
});

describe('events', () => {
  it('tell all who watch, of a signal from before as well, until they stop', async () => {
    const event = host.createEvent();
    host.signal(event);
    const [first, second] = [vi.fn(), vi.fn()];
    const stops = [host.watch(event, first), host.watch(event, second)];
    await vi.waitFor(() => expect(second).toHaveBeenCalledTimes(1));
    expect(first).toHaveBeenCalledTimes(1);
    stops[0]?.();
    stops[0]?.();
    host.signal(event);
    host.signal(event);
    await vi.waitFor(() => expect(second).toHaveBeenCalledTimes(2));
    expect(first).toHaveBeenCalledTimes(1);
    stops[1]?.();
    host.signal(event);
    host.watch(event, first);
    await vi.waitFor(() => expect(first).toHaveBeenCalledTimes(2));
    expect(second).toHaveBeenCalledTimes(2);
    // What is closed is watched no more, and the number may be another thing's at once.
    event.close();
    const other = host.createEvent();
    host.signal(other);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    expect(first).toHaveBeenCalledTimes(2);
    other.close();
  });

  it('let promises go on behind them when nothing else happens', async () => {
    const event = host.createEvent();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      const stop = host.watch(event, () => {
        stop();
        order.push('happened');
        process.nextTick(() => order.push('tick'));
        void Promise.resolve()
          .then(() => order.push('promise'))
          .then(() => resolve());
      });
      host.signal(event);
    });
    expect(order.toSorted()).toEqual(['happened', 'promise', 'tick']);
    event.close();
  });

  it('never overwrite a file that was sent as one', () => {
    const path = freshPath();
    writeFileSync(path, 'precious');
    const file = host.adopt(openSync(path, 'r+'));
    host.signal(file);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(() => host.watch(file, () => {})).toThrow(/is no event/);
    file.close();
    host.signal(file);
  });

  it('are read without waiting, though their peer made them wait', async () => {
    const event = FileDescriptor.from(host.createEvent());
    const happened = vi.fn();
    const stop = host.watch(event, happened);
    linuxCalls().fcntl(event.fd, 4, 0); // F_SETFL, without O_NONBLOCK
    host.signal(event);
    await vi.waitFor(() => expect(happened).toHaveBeenCalledTimes(1));
    // Whoever shares it may have taken the signal away already.
    expect(linuxCalls().drain(event.fd)).toBe(-constants.errno.EAGAIN);
    stop();
    event.close();
  });

  it('are refused when nothing can be waited for', () => {
    const event = host.createEvent();
    event.close();
    expect(() => host.watch(event, () => {})).toThrow(/is no event/);
    expect(() => host.watch({ close() {} }, () => {})).toThrow(/another host/);
  });
});

it('closes a descriptor once', () => {
  const { fd } = host.adopt(openSync('/dev/null', 'r'));
  const descriptor = host.adopt(fd);
  descriptor.close();
  expect(descriptor.fd).toBe(-1);
  descriptor.close();
  expect(() => closeSync(fd)).toThrow(/EBADF/);
});

describe('connections', () => {
  it('are made in pairs, and opened from the descriptors that they were handed over as', async () => {
    const before = openDescriptors();
    const { channel, other } = host.createChannel();
    const [near, far] = [new Heard(), new Heard()];
    channel.listen(near);
    const opened = host.openChannel(other);
    opened.listen(far);
    const event = host.createEvent();
    channel.send(Uint8Array.of(5), [event]);
    opened.send(Uint8Array.of(6));
    await vi.waitFor(() => expect([...near.bytes, ...far.bytes]).toEqual([6, 5]));
    expect(far.descriptors).toHaveLength(1);
    opened.close();
    await vi.waitFor(() => expect(near.ends).toBe(1));
    event.close();
    far.closeDescriptors();
    channel.close();
    await vi.waitFor(() => expect(openDescriptors()).toBe(before));
  });

  it('may be pipes, one end of each', async () => {
    const path = freshPath();
    execFileSync('mkfifo', [path]);
    const flags = modes.O_NONBLOCK;
    const reading = host.openChannel(host.adopt(openSync(path, modes.O_RDONLY | flags)));
    const writing = host.openChannel(host.adopt(openSync(path, modes.O_WRONLY | flags)));
    const heard = new Heard();
    reading.listen(heard);
    const sent = new Uint8Array(300_000).map((_, i) => i);
    writing.send(sent);
    writing.close();
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect(Buffer.compare(heard.bytes, sent)).toBe(0);
    reading.close();

    const unread = openSync(path, modes.O_RDONLY | flags);
    const full = host.openChannel(host.adopt(openSync(path, modes.O_WRONLY | flags)));
    full.send(sent);
    full.close();
    full.abort();
    // Its end is behind what the pipe holds, and nothing waits to follow.
    const room = new Uint8Array(2 ** 20);
    let length = 0;
    await vi.waitFor(() => {
      const count = readSync(unread, room);
      length += count;
      expect(count).toBe(0);
    });
    expect(length).toBeLessThan(sent.length);
    closeSync(unread);
  });

  it('are nothing else', () => {
    const memory = host.createMemory(4096);
    expect(() => host.openChannel(memory)).toThrow(/no connection/);
    expect(() => host.openChannel(memory)).toThrow(/closed/);
    const event = host.createEvent();
    expect(() => host.openChannel(event)).toThrow(/no connection/);
    // The place of a pipe, and not the pipe.
    const path = freshPath();
    execFileSync('mkfifo', [path]);
    const O_PATH = 0o10000000;
    const place = host.adopt(openSync(path, O_PATH));
    expect(() => host.openChannel(place)).toThrow(/no connection/);
    expect(place.closed).toBe(true);
    expect(() => host.watch(host.adopt(openSync(path, O_PATH)), () => {})).toThrow(/is no event/);
  });
});
