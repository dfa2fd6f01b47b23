import { HostError, UsageError } from '../../errors.ts';
import type { WindowRoom } from './driver-room.ts';
import type { FuseClient } from './driver-session.ts';
import { mappingFlag } from './spec-fuse.ts';
import { fuse_removemapping_in, fuse_removemapping_one, fuse_setupmapping_in } from './spec-fuse-structs.ts';

/** What is mapped, and where. */
export interface MappingOptions {
  /** Where in the file: a multiple of the window's alignment, 0 unless told. */
  readonly from?: number;
  /** Bytes, rounded up to whole pages of the window. */
  readonly length: number;
  /** The file must be open for both then. */
  readonly writable?: boolean;
}

/** A range of a file in the window. Reading and writing it takes no request; `sync` of the file makes it stable. */
export class FsMapping {
  /** Bytes that are mapped, at least those that were asked for. */
  readonly length: number;
  readonly writable: boolean;
  readonly #client: FuseClient;
  readonly #room: WindowRoom;
  readonly #place: number;
  readonly #nodeId: number;
  #closed: Promise<void> | undefined;

  private constructor(
    client: FuseClient,
    room: WindowRoom,
    nodeId: number,
    place: number,
    length: number,
    writable: boolean,
  ) {
    this.#client = client;
    this.#room = room;
    this.#nodeId = nodeId;
    this.#place = place;
    this.length = length;
    this.writable = writable;
  }

  /**
   * @internal Use `FsFile.map`.
   * @throws {UsageError} BAD_ARGUMENT for what is not aligned, OUT_OF_MEMORY when the window is full.
   */
  static async open(
    client: FuseClient,
    room: WindowRoom,
    file: { readonly nodeId: number; readonly handle: number },
    { from = 0, length, writable = false }: MappingOptions,
  ): Promise<FsMapping> {
    const { alignment } = room;
    if (!(from >= 0) || from % alignment !== 0 || !(length > 0)) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${length} bytes from ${from} on: begin at a multiple of ${alignment}`,
      );
    }
    const whole = Math.ceil(length / alignment) * alignment;
    const place = room.take(whole);
    const { READ, WRITE } = mappingFlag;
    try {
      await client.request('SETUPMAPPING', file.nodeId, [
        fuse_setupmapping_in.encode({
          ...{ fh: file.handle, foffset: from, len: whole, moffset: place },
          flags: READ | (writable ? WRITE : 0),
        }),
      ]);
    } catch (error) {
      room.giveBack(place);
      throw error;
    }
    return new FsMapping(client, room, file.nodeId, place, whole, writable);
  }

  /**
   * Fills `target` from an offset within the mapping. What is behind the end of the file says nothing.
   *
   * @throws {UsageError} BAD_ARGUMENT beyond the mapping, BAD_STATE when it is closed.
   * @spec 5.11.6.4.2 driver: Device Types / File System Device / Device Operation / Device Operation: DAX Window
   */
  read(offset: number, target: Uint8Array): void {
    this.#room.access.read(this.#at(offset, target.length), target);
  }

  /**
   * Writes within the mapping. The file does not grow by it.
   *
   * @throws {UsageError} BAD_ARGUMENT beyond the mapping, BAD_STATE when it is closed, or only to be read.
   */
  write(offset: number, source: Uint8Array): void {
    if (!this.writable) throw new UsageError('BAD_STATE', 'it is mapped to be read: map it `writable`');
    this.#room.access.write(this.#at(offset, source.length), source);
  }

  /** Takes it out of the window. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #at(offset: number, length: number): number {
    if (this.#closed !== undefined) throw new UsageError('BAD_STATE', 'the mapping is closed');
    if (!(offset >= 0) || offset + length > this.length) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${length} bytes at ${offset} are not within ${this.length} mapped ones`,
      );
    }
    return this.#place + offset;
  }

  async #close(): Promise<void> {
    await this.#client.request('REMOVEMAPPING', this.#nodeId, [
      fuse_removemapping_in.encode({ count: 1 }),
      fuse_removemapping_one.encode({ moffset: this.#place, len: this.length }),
    ]);
    // Of what may still be mapped nothing else must be shown.
    this.#room.giveBack(this.#place);
  }
}

/** @throws {HostError} IO_ERROR where there is no window. */
export function roomOf(client: FuseClient): WindowRoom {
  if (client.room !== undefined) return client.room;
  throw new HostError('IO_ERROR', 'there is no window to map files into: read and write them');
}
