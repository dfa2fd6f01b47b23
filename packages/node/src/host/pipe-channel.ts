import { Socket } from 'node:net';
import type { Channel, ChannelListener } from 'virtio/channel';
import { UsageError } from 'virtio/errors';
import type { FileDescriptor } from './file-descriptor.ts';

/** One end of a pipe: bytes in one direction, and no descriptors. */
export class PipeChannel implements Channel {
  readonly #stream: Socket;
  #listener: ChannelListener | undefined;
  #error: Error | undefined;
  #closed = false;

  /** Takes over the end that is read, or the one that is written. */
  constructor(
    descriptor: FileDescriptor,
    direction: { readonly readable: boolean; readonly writable: boolean },
  ) {
    this.#stream = new Socket({ fd: descriptor.release(), ...direction });
    this.#stream.on('error', (error) => {
      this.#error = error;
    });
    this.#stream.on('close', () => this.#end());
  }

  listen(listener: ChannelListener): void {
    if (this.#listener !== undefined) throw new UsageError('BAD_STATE', 'the channel has a listener already');
    this.#listener = listener;
    this.#stream.on('data', (bytes) => {
      if (!this.#closed) listener.received(bytes, []);
    });
    this.#stream.on('end', () => this.#stream.destroy());
  }

  send(bytes: Uint8Array): void {
    if (!this.#closed && this.#stream.writable) this.#stream.write(bytes.slice());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#stream.writable) this.#stream.end(() => this.#stream.destroy());
    else this.#stream.destroy();
  }

  abort(): void {
    this.#closed = true;
    this.#stream.destroy();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener?.closed(this.#error);
  }
}
