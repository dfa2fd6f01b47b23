import { fstatSync, ftruncateSync } from 'node:fs';
import { constants } from 'node:os';
import type { MappedMemory } from 'virtio/channel';
import { HostError, UsageError } from 'virtio/errors';
import { type Backing, maxViewLength } from 'virtio/memory';
import { systemCalls } from '../ffi/files.ts';
import { failure } from './failure.ts';
import { FileDescriptor } from './file-descriptor.ts';
import { linux } from './platform.ts';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;

/** Bytes that are mapped at a time. Each view of 4 GiB has the engine collect garbage: it would be at that for minutes. */
const mostMapped = 2 ** 42;

/** The engine wants a view of whole words to begin at one. */
const widestWord = 8;

/**
 * Maps bytes of an open file, to be read and written and shared with whoever maps them too.
 *
 * @param offset bytes from its start.
 * @throws {HostError} IO_ERROR when it is no file, or has fewer bytes than that; NO_SPACE when there is no address for it,
 * or it is more than 4 TiB.
 */
export function mapFile(fd: number, offset: number, length: number): MappedMemory {
  checkRange(offset, length);
  const stats = fstatSync(fd);
  if (!stats.isFile()) throw new HostError('IO_ERROR', 'the descriptor is no memory');
  if (offset + length > stats.size) {
    throw new HostError('IO_ERROR', `the memory has ${stats.size} bytes, fewer than ${offset + length}`);
  }
  if (length > mostMapped) {
    throw new HostError('NO_SPACE', `${length} bytes of memory are more than are mapped, ${mostMapped}`);
  }
  // Files of huge pages are mapped and unmapped by whole ones, and say how large those are.
  const page = Math.max(systemCalls().pageSize(), stats.blksize);
  const lead = offset % page;
  const mapped = page * Math.ceil((lead + length) / page);
  const mapping = systemCalls().mapShared(fd, offset - lead, mapped);
  if (typeof mapping === 'number') throw failure(mapping, `${length} bytes of memory cannot be mapped`);

  const byteOffset = lead % widestWord;
  if (byteOffset > 0 && length + byteOffset > maxViewLength) {
    mapping.unmap();
    throw new HostError('IO_ERROR', `4 GiB and more must begin at a multiple of 8, not at ${offset}`);
  }
  const pieces: Backing[] = [];
  try {
    for (let at = 0; at < length; at += maxViewLength) {
      const byteLength = Math.min(maxViewLength, length - at);
      const buffer = mapping.view(lead - byteOffset + at, byteOffset + byteLength);
      pieces.push({ buffer, byteOffset, byteLength });
    }
  } catch (cause) {
    mapping.unmap();
    throw new HostError('NO_SPACE', `the engine has no buffer for ${length} bytes of memory`, { cause });
  }
  let open = true;
  return {
    pieces,
    close() {
      if (open) mapping.unmap();
      open = false;
    },
  };
}

/**
 * Memory of `length` zeros without a name, which nobody can shrink.
 *
 * @throws {HostError} NO_SPACE or IO_ERROR when the system gives none.
 */
export function createMemory(length: number): FileDescriptor {
  checkRange(0, length);
  const fd = linux().memfdCreate('virtio', MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw failure(fd, 'the system gives no memory to share');
  const memory = new FileDescriptor(fd, false);
  try {
    ftruncateSync(fd, length);
  } catch (cause) {
    memory.close();
    throw new HostError('NO_SPACE', `there are no ${length} bytes of memory to share`, { cause });
  }
  keepSize(fd);
  return memory;
}

/**
 * Forbids everybody to shrink the memory: who touches what was cut off dies. False where it cannot be had: for files
 * with a name, and for memory whose maker forbade it to be sealed.
 */
export function keepSize(fd: number): boolean {
  const added = linux().fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
  if (added >= 0) return true;
  const seals = added === -constants.errno.EPERM ? linux().fcntl(fd, F_GET_SEALS, 0) : 0;
  return seals > 0 && (seals & F_SEAL_SHRINK) !== 0;
}

function checkRange(offset: number, length: number): void {
  if (offset >= 0 && length > 0 && Number.isSafeInteger(offset + length)) return;
  throw new UsageError('BAD_ARGUMENT', `${length} bytes at ${offset} are no range of memory`);
}
