import type { Socket } from 'node:net';
import { type Device, queueSizes } from 'virtio/device';
import { HostError } from 'virtio/errors';
import { type ChildOptions, GuardedChild } from './guarded-child.ts';
import { KernelLines } from './kernel-lines.ts';

/** A device of another process in a guest: whom to ask for it, and what it is. */
export interface VhostUserDevice {
  /** Path of the socket at which its back end listens. */
  readonly socket: string;
  /** Its virtio device id: 2 is a disk. */
  readonly id: number;
  /** The largest size of each of its queues, for machines that have to be told. */
  readonly queues?: readonly number[];
  /** Bytes of its configuration space, for machines that have to be told. */
  readonly configLength?: number;
}

/** A device of ours, as a guest is told of it whose back end listens at this socket. */
export function servedAt(socket: string, device: Device): VhostUserDevice {
  return {
    socket,
    id: device.type.id,
    queues: Array.from(queueSizes(device), (size) => size ?? 0),
    configLength: device.type.config.size,
  };
}

/** How a guest is to be made, whatever runs it. */
export interface NativeGuestOptions {
  /** MiB; 256 unless told. */
  readonly memory?: number;
  readonly devices?: readonly VhostUserDevice[];
  /** What our guest wants on the kernel's command line, where another one wants something else. */
  readonly commandLine?: string;
  /** Added behind the kernel's command line. */
  readonly append?: string;
  /** Path of an initramfs other than the guest's. */
  readonly initrd?: string;
  /** Serial ports beside the kernel's console, from `/dev/ttyS0` or `/dev/ttyS1` on; none unless told. */
  readonly ports?: number;
  /** Hears each line of the kernel's console. */
  readonly onKernelLine?: (line: string) => void;
}

/** Characters of the kernel's console that are told when the guest ends. */
const lastWords = 4000;

/** A Linux in a process beside us. It lives until `close`, or until it ends itself; it never outlives us. */
export class NativeGuest {
  readonly #child: GuardedChild;
  /** The host's ends of the serial ports. */
  readonly ports: readonly Socket[];
  #kernelLog = '';

  protected constructor(child: GuardedChild, { ports = 0, onKernelLine }: NativeGuestOptions) {
    this.#child = child;
    this.ports = Array.from({ length: ports }, (_, index) => child.socket(index));
    // A guest that dies in the middle of a word is heard of by its end.
    for (const port of this.ports) port.on('error', () => {});
    const lines = new KernelLines((line) => {
      this.#kernelLog = `${this.#kernelLog}${line}\n`.slice(-lastWords);
      onKernelLine?.(line);
    });
    child.output.on('data', (bytes: Buffer) => lines.push(bytes));
  }

  /** Settles when it has ended, with how it did: a guest that was switched off from inside has ended well. Never rejects. */
  get ended(): Promise<HostError> {
    return this.#child.ended.then(
      (error) => new HostError(error.code, `${error.message}\n${this.#kernelLog}`.trim()),
    );
  }

  /** What its kernel's console has shown last. */
  get kernelLog(): string {
    return this.#kernelLog;
  }

  /** Pulls the plug; settles when nothing of it is left. Does nothing when it has ended. */
  async close(): Promise<void> {
    if (!this.#child.hasEnded) await this.#child.kill();
    for (const port of this.ports) port.destroy();
  }

  protected static startChild(
    file: string,
    args: readonly string[],
    options: Omit<ChildOptions, 'output'>,
  ): Promise<GuardedChild> {
    return GuardedChild.start(file, args, { ...options, output: true });
  }
}
