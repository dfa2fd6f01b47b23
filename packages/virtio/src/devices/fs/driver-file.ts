import { PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { changedFields } from './driver-attributes.ts';
import type { FuseClient } from './driver-session.ts';
import { FsMapping, type MappingOptions, roomOf } from './driver-window.ts';
import { readAttributes } from './spec-attribute-structs.ts';
import type { AttributeChanges, Attributes, SeekKind } from './spec-attributes.ts';
import { fallocateFlag, fsyncFlag, getattrFlag, lockFlag, lockType, seekWhence } from './spec-fuse.ts';
import * as fuse from './spec-fuse-structs.ts';

/** What is locked: a range of bytes, or all of the open file (`flock`). */
export interface LockRequest {
  readonly type: 'read' | 'write' | 'unlock';
  /** The first byte and the last; all bytes unless told. */
  readonly start?: number;
  readonly end?: number;
  /** Who locks: 1 unless told. */
  readonly owner?: bigint;
  readonly pid?: number;
  readonly whole?: boolean;
}

/** A lock that is in the way. */
export interface LockFound {
  readonly type: 'read' | 'write';
  readonly start: number;
  /** `Infinity` to the end of the file. */
  readonly end: number;
  readonly pid: number;
}

/** The end of a lock that has none. */
const endless = 2n ** 63n - 1n;

/**
 * An open file of a file system device. Its methods throw an FsError with what the device answers; offsets and lengths
 * are bytes.
 */
export class FsFile {
  /** The device's numbers of the file and of its being open. */
  readonly nodeId: number;
  readonly handle: number;
  readonly #client: FuseClient;
  readonly #flags: number;
  #closed: Promise<void> | undefined;

  /** @internal Use `openFs(…).open`. */
  constructor(client: FuseClient, nodeId: number, handle: number, flags: number) {
    this.#client = client;
    this.nodeId = nodeId;
    this.handle = handle;
    this.#flags = flags;
  }

  /** Up to `length` bytes from `offset`; fewer at the end of the file. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const whole = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const size = Math.min(this.#client.mostData, length - done);
      const part = await this.#client.request(
        'READ',
        this.nodeId,
        [fuse.fuse_read_in.encode({ fh: this.handle, offset: offset + done, size, flags: this.#flags })],
        size,
      );
      whole.set(part, done);
      done += part.length;
      if (part.length < size) break;
    }
    return whole.subarray(0, done);
  }

  /** Writes all bytes at `offset`, in as many requests as that takes; answers how many were written. */
  async write(offset: number, bytes: Uint8Array): Promise<number> {
    let done = 0;
    while (done < bytes.length) {
      const part = bytes.subarray(done, done + this.#client.mostData);
      const answer = await this.#client.request('WRITE', this.nodeId, [
        fuse.fuse_write_in.encode({
          fh: this.handle,
          offset: offset + done,
          size: part.length,
          flags: this.#flags,
        }),
        part,
      ]);
      const written = fuse.fuse_write_out.field.size.get(dataView(answer));
      if (written > part.length) {
        throw new PeerError(
          'BAD_RESPONSE',
          `the file system device wrote ${written} of ${part.length} bytes`,
        );
      }
      done += written;
      if (written < part.length) break;
    }
    return done;
  }

  /**
   * Has the device show a range of the file in the window, where both have one: see `OpenFs.hasWindow`.
   *
   * @throws {HostError} IO_ERROR where there is no window.
   * @throws {UsageError} BAD_ARGUMENT for what is not aligned, OUT_OF_MEMORY when the window is full.
   */
  async map(options: MappingOptions): Promise<FsMapping> {
    return FsMapping.open(this.#client, roomOf(this.#client), this, options);
  }

  async stat(): Promise<Attributes> {
    const answer = await this.#client.request('GETATTR', this.nodeId, [
      fuse.fuse_getattr_in.encode({ getattr_flags: getattrFlag.FH, fh: this.handle }),
    ]);
    return readAttributes(dataView(answer), fuse.fuse_attr_out.field.attr.offset);
  }

  /** Changes what is given; answers the attributes as they are then. */
  async change(changes: AttributeChanges): Promise<Attributes> {
    const answer = await this.#client.request('SETATTR', this.nodeId, [
      fuse.fuse_setattr_in.encode(changedFields(changes, this.handle)),
    ]);
    return readAttributes(dataView(answer), fuse.fuse_attr_out.field.attr.offset);
  }

  async truncate(size: number): Promise<void> {
    await this.change({ size });
  }

  async sync(dataOnly = false): Promise<void> {
    await this.#client.request('FSYNC', this.nodeId, [
      fuse.fuse_fsync_in.encode({ fh: this.handle, fsync_flags: dataOnly ? fsyncFlag.FDATASYNC : 0 }),
    ]);
  }

  /** Makes room, or takes it away: `punch` leaves a hole, `zero` zeroes. */
  async allocate(
    offset: number,
    length: number,
    kind: 'allocate' | 'punch' | 'zero' = 'allocate',
    keepSize: boolean = kind === 'punch',
  ): Promise<void> {
    const { PUNCH_HOLE, ZERO_RANGE, KEEP_SIZE } = fallocateFlag;
    const how = { allocate: 0, punch: PUNCH_HOLE, zero: ZERO_RANGE }[kind];
    await this.#client.request('FALLOCATE', this.nodeId, [
      fuse.fuse_fallocate_in.encode({
        ...{ fh: this.handle, offset, length },
        mode: how | (keepSize ? KEEP_SIZE : 0),
      }),
    ]);
  }

  /** The first data, or hole, from `offset` on: ENXIO behind the last. */
  async seek(offset: number, kind: SeekKind): Promise<number> {
    const whence = kind === 'data' ? seekWhence.DATA : seekWhence.HOLE;
    const answer = await this.#client.request('LSEEK', this.nodeId, [
      fuse.fuse_lseek_in.encode({ fh: this.handle, offset, whence }),
    ]);
    return fuse.fuse_lseek_out.field.offset.get(dataView(answer));
  }

  /** Has the device copy between two files; answers how many bytes it did, which may be fewer. */
  async copyTo(to: FsFile, fromOffset: number, toOffset: number, length: number): Promise<number> {
    const answer = await this.#client.request('COPY_FILE_RANGE', this.nodeId, [
      fuse.fuse_copy_file_range_in.encode({
        ...{ fh_in: this.handle, off_in: fromOffset, nodeid_out: to.nodeId, fh_out: to.handle },
        ...{ off_out: toOffset, len: length },
      }),
    ]);
    return Math.min(length, fuse.fuse_write_out.field.size.get(dataView(answer)));
  }

  /**
   * Takes or gives back a lock: EAGAIN when another is in the way, unless it is to be waited for. `onWaiting` is handed what
   * gives up waiting, which then fails with EINTR.
   */
  async lock(
    lock: LockRequest,
    options: { readonly wait?: boolean; readonly onWaiting?: (interrupt: () => Promise<void>) => void } = {},
  ): Promise<void> {
    const name = options.wait === true ? 'SETLKW' : 'SETLK';
    const sent = this.#client.send(name, this.nodeId, [this.#encodeLock(lock)]);
    options.onWaiting?.(() => sent.interrupt());
    await sent.answer;
  }

  /** The lock that is in the way of one. */
  async findLock(lock: LockRequest): Promise<LockFound | undefined> {
    const answer = await this.#client.request('GETLK', this.nodeId, [this.#encodeLock(lock)]);
    const { start, end, type, pid } = fuse.fuse_file_lock.read(dataView(answer));
    if (type === lockType.UNLCK) return undefined;
    const last = end > Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : end;
    return { type: type === lockType.WRLCK ? 'write' : 'read', start, end: last, pid };
  }

  /** What a process does that closes the file, which may be open elsewhere: its locks go with it. */
  async flush(owner = 1n): Promise<void> {
    await this.#client.request('FLUSH', this.nodeId, [
      fuse.fuse_flush_in.encode({ fh: this.handle, lock_owner: owner }),
    ]);
  }

  /** Closes the file for good. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#client.request('RELEASE', this.nodeId, [
      fuse.fuse_release_in.encode({ fh: this.handle, flags: this.#flags }),
    ]);
    // What the open file was found by.
    this.#client.forget(this.nodeId);
    await this.#client.flush();
  }

  #encodeLock({ type, start = 0, end, owner = 1n, pid = 1, whole = false }: LockRequest): Uint8Array {
    const { RDLCK, WRLCK, UNLCK } = lockType;
    const encoded = fuse.fuse_lk_in.encode({
      ...{ fh: this.handle, owner },
      lk: { start, end: end ?? 0, type: { read: RDLCK, write: WRLCK, unlock: UNLCK }[type], pid },
      lk_flags: whole ? lockFlag.FLOCK : 0,
    });
    if (end === undefined || end === Number.POSITIVE_INFINITY) {
      const at = fuse.fuse_lk_in.field.lk.offset + fuse.fuse_file_lock.field.end.offset;
      dataView(encoded).setBigUint64(at, endless, true);
    }
    return encoded;
  }
}
