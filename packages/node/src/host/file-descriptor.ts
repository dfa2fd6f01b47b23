import { fstatSync, constants as modes } from 'node:fs';
import type { Descriptor } from 'virtio/channel';
import { UsageError } from 'virtio/errors';
import { linux } from './platform.ts';

const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
/** The same on every processor that `linux` lets pass. */
const O_NONBLOCK = 0o4000;

/** An open file descriptor of this process and its one owner. */
export class FileDescriptor implements Descriptor {
  #fd: number;
  #carriesEvents: boolean | undefined;
  readonly #beforeClose = new Set<() => void>();

  /** Takes `fd` over. `carriesEvents` where it is known: made by us, never blocking. */
  constructor(fd: number, carriesEvents?: boolean) {
    this.#fd = fd;
    this.#carriesEvents = carriesEvents;
  }

  /** @throws {UsageError} BAD_ARGUMENT for a descriptor that did not come from here. */
  static from(descriptor: Descriptor): FileDescriptor {
    if (descriptor instanceof FileDescriptor) return descriptor;
    throw new UsageError('BAD_ARGUMENT', 'the descriptor is of another host');
  }

  /** The system's number for it; -1 once it is closed. */
  get fd(): number {
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /**
   * True for what an event can be sent through: an eventfd, a pipe or a socket. It no longer blocks then. A peer that
   * sends a file instead must not have eight bytes of it overwritten.
   */
  get carriesEvents(): boolean {
    this.#carriesEvents ??= !this.closed && hasNoContents(this.#fd) && stopBlocking(this.#fd);
    return this.#carriesEvents;
  }

  /** Calls `task` just before the descriptor is closed, until the function it gives is called. */
  beforeClose(task: () => void): () => void {
    this.#beforeClose.add(task);
    return () => void this.#beforeClose.delete(task);
  }

  /** Another descriptor of the same thing. The number is minus an errno when there is none. */
  duplicate(): FileDescriptor | number {
    const fd = linux().fcntl(this.#fd, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? fd : new FileDescriptor(fd, this.#carriesEvents);
  }

  /** Its number, for another owner. This one has nothing any more. */
  release(): number {
    for (const task of this.#beforeClose) task();
    this.#beforeClose.clear();
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
  }

  close(): void {
    if (!this.closed) linux().close(this.release());
  }
}

/** Makes calls on a descriptor return at once; false when it is none. */
export function stopBlocking(fd: number): boolean {
  const flags = linux().fcntl(fd, F_GETFL, 0);
  return flags >= 0 && linux().fcntl(fd, F_SETFL, flags | O_NONBLOCK) >= 0;
}

function hasNoContents(fd: number): boolean {
  const type = fstatSync(fd).mode & modes.S_IFMT;
  // An eventfd has no type at all.
  return type === 0 || type === modes.S_IFIFO || type === modes.S_IFSOCK;
}
