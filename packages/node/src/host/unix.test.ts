import { closeSync, existsSync, openSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect as netConnect } from 'node:net';
import type { Channel } from 'virtio/channel';
import { describe, expect, it, vi } from 'vitest';
import { linuxCalls } from '../ffi/linux.ts';
import { FileDescriptor } from './file-descriptor.ts';
import { freshPath, Heard } from './pair.fixture.ts';
import { socketAddress } from './socket-address.ts';
import { connectUnix, listenUnix } from './unix.ts';

const ignore = (channel: Channel): void => channel.close();

/** A socket of the system's, bound to a path: nobody listens until told. */
function boundSocket(path: string): number {
  const { socket, bind } = linuxCalls();
  const fd = socket(1, 1, 0);
  const { bytes, length } = socketAddress(path);
  expect(bind(fd, bytes, length)).toBe(0);
  return fd;
}

describe('listening', () => {
  it('serves other programs, and removes its file', async () => {
    const path = freshPath();
    const listening = listenUnix(path, (channel) => {
      channel.listen({ received: (bytes) => channel.send(bytes), closed() {} });
    });
    const socket = netConnect(path);
    socket.write('hello');
    const [said] = await new Promise<Buffer[]>((resolve) => socket.once('data', (data) => resolve([data])));
    expect(said?.toString()).toBe('hello');
    socket.destroy();
    listening.close();
    listening.close();
    expect(existsSync(path)).toBe(false);
  });

  it('replaces a file that nobody listens at', async () => {
    const path = freshPath();
    closeSync(boundSocket(path));
    expect(statSync(path).isSocket()).toBe(true);
    const listening = listenUnix(path, ignore);
    const heard = new Heard();
    connectUnix(path).listen(heard);
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    listening.close();
  });

  it.each(['socket', '@virtio-test-name'])('refuses a place that is in use: %s', async (name) => {
    const path = name.startsWith('@') ? `${name}-${process.pid}` : freshPath();
    const listening = listenUnix(path, ignore);
    const again = (): void => void listenUnix(path, ignore);
    expect(again).toThrow(expect.objectContaining({ code: 'IN_USE' }));
    expect(again).toThrow(/a program listens there; end it/);
    const heard = new Heard();
    connectUnix(path).listen(heard);
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    listening.close();
    listenUnix(path, ignore).close();
  });

  it('leaves alone what is no socket, and a file that another program put there since', () => {
    const path = freshPath();
    writeFileSync(path, 'mine');
    expect(() => listenUnix(path, ignore)).toThrow(/is no socket: remove it/);
    const other = freshPath();
    const listening = listenUnix(other, ignore);
    unlinkSync(other);
    writeFileSync(other, 'mine');
    listening.close();
    expect(existsSync(other)).toBe(true);
  });

  it('says what is wrong with a path', () => {
    const long = `/tmp/${'long'.repeat(30)}`;
    expect(() => listenUnix(long, ignore)).toThrow(/has 125 bytes, .* at most 107: choose a shorter one/);
    expect(() => connectUnix(long)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    expect(() => listenUnix('', ignore)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    const nowhere = `${freshPath()}/socket`;
    expect(() => listenUnix(nowhere, ignore)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => listenUnix(nowhere, ignore)).toThrow(/there is no such folder; make it/);
    expect(() => connectUnix(nowhere)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => connectUnix(nowhere)).toThrow(/start the program that listens there \(ENOENT\)/);
    const stale = freshPath();
    closeSync(boundSocket(stale));
    expect(() => connectUnix(stale)).toThrow(/nobody listens at .*: start the program/);
  });
});

describe('a descriptor that was handed over', () => {
  it('is taken for what it is: a socket that listens', async () => {
    const path = freshPath();
    const fd = boundSocket(path);
    expect(linuxCalls().listen(fd, 1)).toBe(0);
    const copy = new FileDescriptor(fd).duplicate();
    if (typeof copy === 'number') throw new Error('no copy');
    expect(() => connectUnix(copy.fd)).toThrow(/listens for connections, and is none/);
    const accepted = vi.fn(ignore);
    const listening = listenUnix(fd, accepted);
    const heard = new Heard();
    connectUnix(path).listen(heard);
    await vi.waitFor(() => expect(heard.ends).toBe(1));
    expect(accepted).toHaveBeenCalledTimes(1);
    listening.close();
    // Whoever made the file removes it.
    expect(existsSync(path)).toBe(true);
  });

  it('is refused when it is something else', () => {
    expect(() => listenUnix(9999, ignore)).toThrow(/there is no descriptor 9999/);
    const file = openSync('/dev/null', 'r');
    expect(() => connectUnix(file)).toThrow(/is no Unix stream socket/);
    closeSync(file); // still the caller's
  });
});
