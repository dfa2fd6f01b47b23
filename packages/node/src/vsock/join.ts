import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { VsockStream } from 'virtio/devices/vsock';

const nothing = new Uint8Array(0);

/**
 * Joins a stream of Node's and a connection: bytes both ways with back pressure, each half ending by itself, a failure of
 * one resetting the other. The stream has to be one that is half open when its other side ends. Settles when both are over.
 */
export async function join(node: Duplex, stream: VsockStream): Promise<void> {
  try {
    await Promise.all([fromNode(node, stream), toNode(stream, node)]);
  } catch {
    stream.reset();
    node.destroy();
  }
  await stream.closed;
}

async function fromNode(node: Duplex, stream: VsockStream): Promise<void> {
  for await (const bytes of node.iterator({ destroyOnReturn: false })) await stream.write(bytes);
  stream.end();
}

async function toNode(stream: VsockStream, node: Duplex): Promise<void> {
  // A stream that is destroyed while it is full never drains.
  const closed = once(node, 'close');
  closed.catch(() => {});
  for await (const bytes of stream) {
    if (node.destroyed) throw new Error('the other side is gone');
    // What lies there goes together: each write of its own is a call of the system's.
    node.cork();
    let room = node.write(bytes);
    while (room && stream.holds) room = node.write((await stream.read()) ?? nothing);
    node.uncork();
    if (!room) await Promise.race([once(node, 'drain'), closed]);
  }
  node.end();
}
