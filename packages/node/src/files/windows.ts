import type { Descriptor } from 'virtio/channel';
import { type FileMapping, FsError, type FsWindow, type MemoryFile, memoryWindow } from 'virtio/devices/fs';
import { HostError, PeerError, UsageError } from 'virtio/errors';
import { maxViewLength } from 'virtio/memory';
import type { LentWindow } from 'virtio/vhost-user';
import type { NodeDescriptors } from '../host/descriptors.ts';
import type { SharedFile } from './open-file.ts';

/** A window of memory of this process, and what lets go of it. */
export interface MemoryFsWindow extends FsWindow<MemoryFile> {
  /** Gives the memory back, as soon as no file stands in it any more; none comes to do so. Safe to call twice. */
  close(): void;
}

/**
 * A window for `memoryFiles()` that a front end shows in its guest's address space: memory of this process, as long as
 * the window, which is mapped there as one piece. What is mapped to be written has its bytes in it.
 *
 * @example
 * const lent = new LentWindow(0, 2 ** 26);
 * const share = fsDevice({ tag: 'share', files, window: lentMemoryWindow(lent, descriptors) });
 * new VhostUserServer(share, descriptors, { windows: [lent] });
 *
 * @throws {UsageError} BAD_ARGUMENT for more than 4 GiB.
 * @throws {HostError} NO_SPACE or IO_ERROR when there is no such memory.
 */
export function lentMemoryWindow(lent: LentWindow, host: NodeDescriptors): MemoryFsWindow {
  const { length } = lent;
  if (length > maxViewLength)
    throw new UsageError('BAD_ARGUMENT', `a window of ${length} bytes: give 4 GiB at most`);
  const memory = host.createMemory(length);
  const mapped = host.map(memory, 0, length);
  // As long as one piece can be.
  const [{ buffer, byteOffset, byteLength } = { buffer: new ArrayBuffer(0) }] = mapped.pieces;
  const inner = memoryWindow(new Uint8Array(buffer, byteOffset, byteLength));
  let files = 0;
  let open = true;
  /** Whoever touches memory that was given back would end the process. */
  const letGo = (): void => {
    if (!open && files === 0) mapped.close();
  };
  return {
    length,
    alignment: inner.alignment,
    get attached(): boolean {
      return open && lent.attached;
    },
    async map(mapping): Promise<void> {
      if (!open) throw new FsError('EIO', 'the window is closed');
      // A reset took it away, or it is the first time.
      if (lent.mappings === 0) await shown(() => lent.map({ ...whole(lent, memory), writable: true }));
      if (!open) throw new FsError('EIO', 'the window is closed');
      inner.map(mapping);
      files++;
    },
    unmap(mapping): void {
      inner.unmap(mapping);
      files--;
      letGo();
    },
    close(): void {
      if (!open) return;
      open = false;
      memory.close();
      letGo();
    },
  };
}

/**
 * A window for the tree of `shareFolder`: a front end maps the files themselves, and this process maps none of them, so that
 * nobody can cut one off beneath it. QEMU 11.1 refuses what goes beyond the end of a file, as Linux asks for, and what is open
 * only to be read: its guests cannot use it.
 */
export function lentFolderWindow(lent: LentWindow, host: NodeDescriptors): FsWindow<SharedFile> {
  return {
    length: lent.length,
    alignment: 4096,
    get attached(): boolean {
      return lent.attached;
    },
    async map({ offset, length, file, from, writable }: FileMapping<SharedFile>): Promise<void> {
      // Only borrowed: the file is open as long as it is mapped.
      const descriptor = host.adopt(file.fd);
      try {
        await shown(() => lent.map({ offset, length, descriptor, from, writable }));
      } finally {
        descriptor.release();
      }
    },
    async unmap({ offset, length }): Promise<void> {
      // With a reset, or its front end, it is gone by itself.
      if (lent.has(offset, length)) await shown(() => lent.unmap(offset, length));
    },
  };
}

const whole = ({ length }: LentWindow, descriptor: Descriptor) => ({
  offset: 0,
  length,
  descriptor,
  from: 0,
});

/** What a front end refuses, or does not hear any more, is no mistake of the guest's. */
async function shown(task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (error instanceof PeerError) throw new FsError('EIO', error.message);
    if (error instanceof HostError && error.code === 'NO_SPACE') throw new FsError('ENOMEM');
    if (error instanceof HostError && error.code === 'DEVICE_GONE') throw new FsError('EIO', error.message);
    throw error;
  }
}
