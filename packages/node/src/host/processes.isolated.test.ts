import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, ftruncateSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Channel } from 'virtio/channel';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { linuxCalls } from '../ffi/linux.ts';
import { NodeDescriptors } from './descriptors.ts';
import { openDescriptors, sharedMappings } from './open-things.fixture.ts';
import { freshPath, Heard } from './pair.fixture.ts';
import { socketAddress } from './socket-address.ts';
import { connectUnix, listenUnix } from './unix.ts';

const host = new NodeDescriptors();
const script = fileURLToPath(new URL('./peer.fixture.ts', import.meta.url));
const patience = { timeout: 30_000 };
const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

/** Another process at its task; what it says. */
function peer(args: readonly string[], options: { fd?: number; most?: number } = {}) {
  const stdio: StdioOptions = [
    'ignore',
    'pipe',
    'inherit',
    ...(options.fd === undefined ? [] : [options.fd]),
  ];
  const command = [process.execPath, '--conditions=source', '--import', 'tsx', script, ...args];
  const limit = options.most === undefined ? '' : `ulimit -n ${options.most}; `;
  const child = spawn('/bin/sh', ['-c', `${limit}exec "$@"`, 'sh', ...command], { stdio });
  children.add(child);
  const peer = { child, said: '', ended: once(child, 'exit') };
  child.stdout?.on('data', (part: Buffer) => {
    peer.said += part.toString();
  });
  return peer;
}

/** Connections that come to a path, and how to stop listening. */
function connections() {
  const path = freshPath();
  const channels: Channel[] = [];
  const listening = listenUnix(path, (channel) => channels.push(channel));
  return { path, channels, listening };
}

/** A listening socket of the system's, as whoever starts programs for others makes it. */
function listeningSocket(path: string): number {
  const fd = linuxCalls().socket(1, 1, 0);
  const { bytes, length } = socketAddress(path);
  expect(linuxCalls().bind(fd, bytes, length)).toBe(0);
  expect(linuxCalls().listen(fd, 8)).toBe(0);
  return fd;
}

it('keeps nothing of a peer that was killed while it sent', async () => {
  const before = openDescriptors();
  const { path, channels, listening } = connections();
  const { child, ended } = peer(['flood', path]);
  await vi.waitFor(() => expect(channels).toHaveLength(1), patience);
  const heard = new Heard();
  let received = 0;
  channels[0]?.listen({
    received(bytes, descriptors) {
      received += bytes.length;
      for (const descriptor of descriptors) descriptor.close();
      if (descriptors.length > 0) channels[0]?.send(Uint8Array.of(1));
    },
    closed: (error) => heard.closed(error),
  });
  await vi.waitFor(() => expect(received).toBeGreaterThan(8 * 2 ** 20), patience);
  child.kill('SIGKILL');
  await ended;
  await vi.waitFor(() => expect(heard.ends).toBe(1), patience);
  expect(heard.error).toBeUndefined();
  listening.close();
  child.stdout?.destroy();
  await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 5), patience);
}, 60_000);

it('keeps nothing for a peer that was killed and never read', async () => {
  const memory = host.createMemory(4096);
  const before = openDescriptors();
  const { path, channels, listening } = connections();
  const { child, ended } = peer(['deaf', path]);
  await vi.waitFor(() => expect(channels).toHaveLength(1), patience);
  const heard = new Heard();
  channels[0]?.listen(heard);
  for (let count = 0; count < 20; count++) channels[0]?.send(new Uint8Array(2 ** 20), [memory]);
  expect(openDescriptors()).toBeGreaterThan(before + 10);
  child.kill('SIGKILL');
  await ended;
  await vi.waitFor(() => expect(heard.ends).toBe(1), patience);
  listening.close();
  memory.close();
  child.stdout?.destroy();
  await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 5), patience);
}, 60_000);

it('serves a listening socket and a connected one that it was started with, and ends with them', async () => {
  const path = freshPath();
  const fd = listeningSocket(path);
  const first = peer(['echo'], { fd });
  const heard = new Heard();
  const channel = connectUnix(path);
  channel.listen(heard);
  const memory = host.createMemory(4096);
  channel.send(Uint8Array.of(1, 2), [memory]);
  await vi.waitFor(() => expect([...heard.bytes]).toEqual([1, 2]), patience);
  expect(heard.descriptors).toHaveLength(1);
  heard.closeDescriptors();
  channel.close();
  expect(await first.ended).toEqual([0, null]);

  // What the first process left behind listens still; this end of a connection to it goes to a second process.
  const connected = linuxCalls().socket(1, 1, 0);
  const { bytes, length } = socketAddress(path);
  expect(linuxCalls().connect(connected, bytes, length)).toBe(0);
  let accepted: Channel | undefined;
  const listening = listenUnix(fd, (one) => {
    accepted = one;
  });
  const second = peer(['echo'], { fd: connected });
  closeSync(connected);
  await vi.waitFor(() => expect(accepted).toBeDefined(), patience);
  const again = new Heard();
  accepted?.listen(again);
  accepted?.send(Uint8Array.of(3));
  await vi.waitFor(() => expect([...again.bytes]).toEqual([3]), patience);
  accepted?.close();
  expect(await second.ended).toEqual([0, null]);
  listening.close();
  memory.close();
  expect(sharedMappings()).toBe(0);
}, 90_000);

it('ends a connection whose descriptors it has no room for, and keeps none of them', async () => {
  const { path, channels, listening } = connections();
  const short = peer(['short', path], { most: 120 });
  await vi.waitFor(() => expect(channels).toHaveLength(1), patience);
  const event = host.createEvent();
  channels[0]?.listen(new Heard());
  channels[0]?.send(Uint8Array.of(1), new Array(50).fill(event));
  channels[0]?.send(Uint8Array.of(1), new Array(250).fill(event));
  await short.ended;
  await vi.waitFor(() => expect(short.said).toMatch(/closed/), patience);
  expect(short.said).toMatch(
    /^received 50\nclosed descriptors that the peer sent are lost.*, -?\d+ more open\n$/,
  );
  expect(Number(/(-?\d+) more open/.exec(short.said)?.[1])).toBeLessThanOrEqual(0);
  channels[0]?.close();
  event.close();
  listening.close();
}, 60_000);

it('waits without a timer, and ends in order when it is told to', async () => {
  const path = freshPath();
  const waiting = peer(['wait', path]);
  await vi.waitFor(() => expect(waiting.said).toBe('waiting, with 0 timers\n'), patience);
  expect(existsSync(path)).toBe(true);
  waiting.child.kill('SIGTERM');
  expect(await waiting.ended).toEqual([0, null]);
  await vi.waitFor(() => expect(waiting.said).toMatch(/ending\n$/), patience);
  expect(existsSync(path)).toBe(false);
}, 60_000);

describe('memory that its owner cuts off', () => {
  const [cloexec, mayBeSealed] = [1, 2];

  it.each([
    // Who sends it, whom it meets, what that says, whether the owner still can, and what becomes of the other.
    { flags: cloexec | mayBeSealed, task: 'touch', says: 'mapped\n', cut: false, after: 'read 0\n' },
    { flags: cloexec, task: 'touchSealed', says: 'may be cut off', cut: true, after: 'read nothing\n' },
  ])(
    'made with flags $flags is safe or refused by $task',
    async ({ flags, task, says, cut, after }) => {
      const { path, channels, listening } = connections();
      const other = peer([task, path]);
      await vi.waitFor(() => expect(channels).toHaveLength(1), patience);
      const memory = host.adopt(linuxCalls().memfdCreate('cut', flags));
      ftruncateSync(memory.fd, 8192);
      channels[0]?.listen({ received() {}, closed() {} });
      channels[0]?.send(Uint8Array.of(1), [memory]);
      await vi.waitFor(() => expect(other.said).toContain(says), patience);
      const cutting = (): void => ftruncateSync(memory.fd, 4096);
      if (cut) cutting();
      else expect(cutting).toThrow(/EPERM/);
      other.said = '';
      channels[0]?.send(Uint8Array.of(2));
      await vi.waitFor(() => expect(other.said).toBe(after), patience);
      channels[0]?.close();
      listening.close();
      memory.close();
    },
    60_000,
  );
});
