import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwaitedSocket } from './sockets.ts';

/** Both ends of a Unix socket: ours, and the one that QEMU would have. */
export async function socketPair(): Promise<{ readonly ours: Socket; readonly theirs: Socket }> {
  const folder = await mkdtemp(join(tmpdir(), 'virtio-socket-'));
  try {
    const awaited = await AwaitedSocket.listen(folder, 'socket');
    const theirs = connect(awaited.path);
    const [ours] = await Promise.all([awaited.connected, once(theirs, 'connect')]);
    return { ours, theirs };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Lines that come, one for each call. */
export function lineReader(socket: Socket): () => Promise<string> {
  let text = '';
  socket.setEncoding('latin1').on('data', (more: string) => {
    text += more;
  });
  return async () => {
    while (!text.includes('\n')) await once(socket, 'data');
    const [line = '', ...rest] = text.split('\n');
    text = rest.join('\n');
    return line;
  };
}
