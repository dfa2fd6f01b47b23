import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Endpoint, noOffloads } from 'virtio/link';
import { describe, expect, it } from 'vitest';
import { connectStream, listenStream, openTap, type Tap } from '../index.ts';

/** Two networks of this machine's kernel that see nothing of each other but through us. */
const spaces = [`vt-a-${process.pid}`, `vt-b-${process.pid}`] as const;
const names = [`vta${process.pid}`, `vtb${process.pid}`] as const;

const run = (...args: string[]): boolean => spawnSync('ip', args).status === 0;

/** A network with a tap interface in it. */
function open(side: 0 | 1, queues = 1): Tap {
  const [space, name] = [spaces[side], names[side]];
  const inside = ['-n', space];
  if (!run('netns', 'add', space)) throw new Error('no network namespaces here');
  const tap = openTap(name, { queues });
  const done =
    run('link', 'set', name, 'netns', space) &&
    run(...inside, 'address', 'add', `198.51.100.${side + 1}/24`, 'dev', name) &&
    run(...inside, 'address', 'add', `2001:db8::${side + 1}/64`, 'dev', name, 'nodad') &&
    run(...inside, 'link', 'set', name, 'up');
  if (done) return tap;
  tap.close();
  throw new Error('no interface in a network namespace here');
}

function close(taps: readonly Tap[]): void {
  for (const tap of taps) tap.close();
  for (const space of spaces) run('netns', 'delete', space);
}

function obstacle(): string | undefined {
  const taps: Tap[] = [];
  try {
    taps.push(open(0));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    close(taps);
  }
}
const why = obstacle();

const size = 8_000_000;

/** Takes a connection, and says the hash of what came by it. */
const server = `
  const hash = require('node:crypto').createHash('sha256');
  const server = require('node:net').createServer((socket) => {
    server.close();
    socket.on('data', (bytes) => hash.update(bytes)).on('end', () => console.log(hash.digest('hex')));
    socket.end();
  });
  server.listen(process.argv[1], '::', () => console.log('listens'));`;
/** Sends bytes to an address. */
const client = `
  const socket = require('node:net').connect(process.argv[1], process.argv[2]);
  socket.end(Buffer.alloc(${size}, 'what a kernel sends').fill('end', ${size - 1000}));`;

const inside = (side: 0 | 1, script: string, ...args: string[]): ChildProcess =>
  spawn('ip', ['netns', 'exec', spaces[side], process.execPath, '-e', script, ...args]);

/** Sends from the first network to the second, and compares. */
async function transfer(to: string, port = 9): Promise<void> {
  const taker = inside(1, server, String(port));
  const [listens] = await once(taker.stdout ?? expect.fail(), 'data');
  expect(String(listens)).toBe('listens\n');
  const giver = inside(0, client, String(port), to);
  const [hash] = await once(taker.stdout ?? expect.fail(), 'data');
  const sent = Buffer.alloc(size, 'what a kernel sends').fill('end', size - 1000);
  expect(String(hash).trim()).toBe(createHash('sha256').update(sent).digest('hex'));
  for (const child of [giver, taker]) if (child.exitCode === null) await once(child, 'exit');
}

/** The same end, which takes finished frames alone. */
const finishing = (end: Endpoint): Endpoint => ({
  takes: noOffloads,
  attached: (link) => end.attached(link),
  receive: (frame, offload) => end.receive(frame, offload),
  room: () => end.room(),
});

describe.skipIf(why !== undefined)(`two kernels${why === undefined ? '' : ` (not here: ${why})`}`, () => {
  it.each([
    ['leave segments and checksums to one another', (end: Endpoint) => end],
    ['have both done by the cable between them', finishing],
  ])('%s', async (_, second) => {
    const taps = [open(0), open(1)] as const;
    try {
      const cable = connect(taps[0].endpoint, second(taps[1].endpoint));
      for (const to of ['198.51.100.2', '2001:db8::2']) await transfer(to);
      expect(cable.fromFirst.malformed + cable.toFirst.malformed).toBe(0);
      expect(cable.fromFirst.bytes).toBeGreaterThan(2 * size);
    } finally {
      close(taps);
    }
  });

  it('spread their flows over many queues', async () => {
    const taps = [open(0, 4), open(1, 2)] as const;
    try {
      for (const [side, count] of [4, 2].entries()) {
        const shown = spawnSync('ip', ['-n', spaces[side] ?? '', '-d', 'link', 'show', names[side] ?? '']);
        expect(String(shown.stdout)).toMatch(new RegExp(`numtxqueues ${count}|numqueues ${count}`));
      }
      const cable = connect(taps[0].endpoint, taps[1].endpoint);
      await Promise.all(['198.51.100.2', '2001:db8::2'].map((to, at) => transfer(to, 9 + at)));
      expect(cable.fromFirst.malformed + cable.toFirst.malformed).toBe(0);
      expect(cable.fromFirst.bytes).toBeGreaterThan(2 * size);
    } finally {
      close(taps);
    }
  });

  it('talk through a stream socket', async () => {
    const taps = [open(0), open(1)] as const;
    const listening = await listenStream({ host: '127.0.0.1', port: 0 }, (end) => {
      const cable = connect(taps[1].endpoint, end);
      return () => cable.close();
    });
    const stream = await connectStream({ host: '127.0.0.1', port: listening.port ?? 0 });
    try {
      connect(taps[0].endpoint, stream.endpoint);
      await transfer('198.51.100.2');
    } finally {
      stream.close();
      await listening.close();
      close(taps);
    }
  });
});
