import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { benchCommand } from './bench/bench.ts';
import { exitStatus, explain } from './exit-status.ts';
import { probeCommand } from './probe/probe.ts';

const folder = mkdtempSync(join(tmpdir(), 'virtio-back-end-'));
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

const output = { out() {}, err() {}, colour: false };
const load = {
  ...{ rw: 'randread', bs: '4096', iodepth: '1', seconds: '1', queues: '1' },
  ...{ packed: false, writeOk: false, json: false },
};

/** What a command makes of a socket. */
async function mistake(command: 'probe' | 'bench', socket: string): Promise<ReturnType<typeof explain>> {
  const running =
    command === 'probe'
      ? probeCommand(output, socket, { json: false })
      : benchCommand(output, 'blk', socket, load);
  return running.then(
    () => expect.unreachable(),
    (error) => explain(error),
  );
}

/** Somebody else's server at a socket of the system's. */
async function listening(name: string, onConnection: (socket: Socket) => void): Promise<string> {
  const path = join(folder, name);
  const server = createServer((socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

it.each(['probe', 'bench'] as const)(
  '%s says of what is no back end where it is, and what to look at',
  async (command) => {
    const http = await listening(`${command}-http`, (socket) =>
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    );
    expect(await mistake(command, http)).toEqual({
      status: exitStatus.findings,
      message: expect.stringMatching(
        new RegExp(`^${http}: vhost-user: there is no message .*; see that a vhost-user back end`),
      ),
    });
    const shut = await listening(`${command}-shut`, (socket) => socket.destroy());
    expect(await mistake(command, shut)).toEqual({
      status: exitStatus.environment,
      message: expect.stringMatching(new RegExp(`^${shut}: vhost-user: .*; see that a vhost-user back end`)),
    });
  },
);

it.each(['probe', 'bench'] as const)('%s says what is wrong with a path', async (command) => {
  const nowhere = join(folder, 'nowhere');
  const message = `there is no ${nowhere}: check the path, or start the program that listens there (ENOENT)`;
  expect(await mistake(command, nowhere)).toEqual({ status: exitStatus.usage, message });
  for (const path of ['', 'x'.repeat(108)]) {
    expect(await mistake(command, path)).toMatchObject({ status: exitStatus.usage });
  }
});
