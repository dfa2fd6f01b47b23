import { closeSync, existsSync, openSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect as netConnect } from 'node:net';
import { constants } from 'node:os';
import type { Channel } from 'virtio/channel';
import { describe, expect, it, vi } from 'vitest';
import { eventLoopCalls } from '../ffi/event-loop.ts';
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

  it('goes on when connections cannot be taken, and does not try without end meanwhile', async () => {
    const path = freshPath();
    const taken = vi.fn(ignore);
    const listening = listenUnix(path, taken);
    const accept = vi.spyOn(linuxCalls(), 'accept').mockReturnValue(-constants.errno.EMFILE);
    const heard = new Heard();
    connectUnix(path).listen(heard);
    await vi.waitFor(() => expect(accept).toHaveBeenCalled());
    const turns = 1000;
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    expect(accept.mock.calls.length).toBeLessThan(turns / 2);
    accept.mockRestore();
    await vi.waitFor(() => expect(heard.ends).toBe(1));

    // One that is taken, and cannot be waited for, is closed.
    const [first, second] = [new Heard(), new Heard()];
    const { poller } = eventLoopCalls();
    const ours = connectUnix(path);
    ours.listen(first);
    const refusing = vi.spyOn(eventLoopCalls(), 'poller').mockReturnValueOnce(-constants.errno.ENOSPC);
    refusing.mockImplementation(poller);
    await vi.waitFor(() => expect(first.ends).toBe(1));
    expect(taken).toHaveBeenCalledTimes(1);
    connectUnix(path).listen(second);
    await vi.waitFor(() => expect(second.ends).toBe(1));
    expect(taken).toHaveBeenCalledTimes(2);
    refusing.mockRestore();
    listening.close();
  });

  it('is let be when somebody else shut the socket down', async () => {
    const path = freshPath();
    const fd = boundSocket(path);
    expect(linuxCalls().listen(fd, 1)).toBe(0);
    const listening = listenUnix(fd, ignore);
    const accept = vi.spyOn(linuxCalls(), 'accept');
    const SHUT_RDWR = 2;
    expect(linuxCalls().shutdown(fd, SHUT_RDWR)).toBe(0);
    await vi.waitFor(() => expect(accept).toHaveBeenCalled());
    const turns = 1000;
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    expect(accept.mock.calls.length).toBeLessThan(turns / 2);
    accept.mockRestore();
    listening.close();
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
