import type { Readable, Writable } from 'node:stream';

/** Writes to one of our own streams; settles when more is welcome, at once while there is room. */
export function writeTo(stream: Writable, bytes: Uint8Array): void | Promise<void> {
  // The guest's memory is behind the bytes, and a stream may keep them.
  if (stream.destroyed || stream.write(Uint8Array.from(bytes))) return;
  return new Promise((resolve) => {
    const settle = (): void => {
      stream.off('drain', settle);
      stream.off('close', settle);
      stream.off('error', settle);
      resolve();
    };
    stream.once('drain', settle);
    stream.once('close', settle);
    stream.once('error', settle);
  });
}

/** Settles when all that was written has left, or cannot leave any more. */
export function drained(stream: Writable): Promise<void> {
  if (stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => stream.write('', () => resolve()));
}

/** Sends all of a stream to the guest, as fast as it takes it, then says that this was all. */
export async function pump(
  from: Readable,
  send: (bytes: Uint8Array) => Promise<void>,
  end: () => void,
): Promise<void> {
  try {
    for await (const chunk of from) await send(chunk);
  } finally {
    end();
  }
}
