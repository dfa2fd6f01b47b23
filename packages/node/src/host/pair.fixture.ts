import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Channel, ChannelListener, Descriptor } from 'virtio/channel';
import { onTestFinished } from 'vitest';
import { connectUnix, type Listening, listenUnix } from './unix.ts';

/** A path for a socket that nobody has used. Its folder is gone when the test has ended. */
export function freshPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'virtio-host-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'socket');
}

/** Both ends of a connection over a real socket. */
export async function connectedPair(): Promise<[Channel, Channel]> {
  const path = freshPath();
  let listening: Listening | undefined;
  const accepted = new Promise<Channel>((resolve) => {
    listening = listenUnix(path, resolve);
  });
  const ours = connectUnix(path);
  const theirs = await accepted;
  listening?.close();
  return [ours, theirs];
}

/** What a channel brought. Descriptors are the test's to close. */
export class Heard implements ChannelListener {
  readonly parts: Uint8Array[] = [];
  readonly descriptors: Descriptor[] = [];
  length = 0;
  ends = 0;
  error: Error | undefined;

  received(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.parts.push(bytes.slice());
    this.length += bytes.length;
    this.descriptors.push(...descriptors);
  }

  closed(error: Error | undefined): void {
    this.ends++;
    this.error = error;
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.parts);
  }

  closeDescriptors(): void {
    for (const descriptor of this.descriptors.splice(0)) descriptor.close();
  }
}
