import type { Storage } from 'virtio/devices/blk';
import { HostError, UsageError } from 'virtio/errors';
import { type BlockAccess, WholeBlocks } from '../whole-blocks.ts';
import { Connection } from './connection.ts';
import { type Export, shakeHands } from './handshake.ts';
import { command, commandFlag, longestString, transmissionFlag } from './protocol.ts';
import { Requests, requestHeader } from './requests.ts';
import { parseNbdUri } from './uri.ts';

/** How an export is opened. */
export interface NbdOptions {
  readonly readOnly?: boolean;
  /** Milliseconds that the server has until requests can be sent; 30 seconds unless told. */
  readonly patience?: number;
}

/** A disk behind an NBD server. */
export interface NbdStorage extends Storage {
  readonly uri: string;
  /** Takes leave of the server. What was not flushed is the server's affair. */
  close(): Promise<void>;
}

const sectorSize = 512;
const bounceLength = 256 * 1024;

/**
 * Opens an export of an NBD server, by `nbd://HOST[:PORT][/EXPORT]` or `nbd+unix:///[EXPORT]?socket=PATH`. The server
 * needs the fixed newstyle handshake. A connection that breaks is not made again: every request fails from then on.
 *
 * @throws {HostError} NOT_FOUND when nobody listens or there is no such export, BAD_IMAGE for one of less than a sector,
 * else IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for what is no such URI.
 */
export async function openNbd(uri: string, options: NbdOptions = {}): Promise<NbdStorage> {
  const { patience = 30_000, readOnly = false } = options;
  const { socket, exportName } = parseNbdUri(uri);
  if (new TextEncoder().encode(exportName).length > longestString) {
    throw new UsageError('BAD_ARGUMENT', `${uri}: the name of the export is too long`);
  }
  let requests: Requests | undefined;
  const connection = await Connection.open(uri, socket, patience, (error) => requests?.end(error));
  const late = new HostError('IO_ERROR', `${uri}: the server does not answer`);
  const timer = setTimeout(() => connection.fail(late), patience);
  try {
    const found = await shakeHands(connection, exportName);
    requests = new Requests(connection, found.structured);
    // It ends with the connection, and what it hears then reaches the requests.
    void requests.listen();
    return new NbdDisk(connection, requests, found, readOnly);
  } catch (error) {
    connection.fail(error instanceof HostError ? error : late);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

class NbdDisk implements NbdStorage, BlockAccess {
  readonly uri: string;
  readonly size: number;
  readonly readOnly: boolean;
  readonly immediate: boolean = false;
  readonly sparse: boolean;
  readonly blockSize: number;
  readonly pieceLength: number;
  readonly discard?: (offset: number, length: number) => Promise<void>;
  readonly writeZeroes?: (offset: number, length: number, mayUnmap: boolean) => Promise<void>;
  readonly #connection: Connection;
  readonly #requests: Requests;
  readonly #blocks: WholeBlocks;
  readonly #flushes: boolean;
  /** Flags of whatever writes: where no flush can be asked for, it is to be stable when it is answered. */
  readonly #writeFlags: number;
  #closing: Promise<void> | undefined;

  constructor(connection: Connection, requests: Requests, found: Export, readOnly: boolean) {
    const has = (flag: number): boolean => (found.flags & flag) !== 0;
    this.uri = connection.name;
    this.#connection = connection;
    this.#requests = requests;
    this.blockSize = found.blockSize;
    // Whole blocks and whole sectors: what remains at the end cannot be reached.
    const grain = Math.max(found.blockSize, sectorSize);
    this.size = Math.floor(found.size / grain) * grain;
    // What is bounced takes memory for as long as it is under way.
    const most = found.blockSize > sectorSize ? Math.max(bounceLength, grain) : found.mostPayload;
    this.pieceLength = Math.floor(Math.min(found.mostPayload, most) / grain) * grain;
    this.readOnly = readOnly || has(transmissionFlag.READ_ONLY);
    this.sparse = has(transmissionFlag.SEND_TRIM) || has(transmissionFlag.SEND_WRITE_ZEROES);
    this.#flushes = has(transmissionFlag.SEND_FLUSH);
    this.#writeFlags = !this.#flushes && has(transmissionFlag.SEND_FUA) ? commandFlag.FUA : 0;
    this.#blocks = new WholeBlocks(this);
    if (has(transmissionFlag.SEND_TRIM)) this.discard = (offset, length) => this.#trim(offset, length);
    if (has(transmissionFlag.SEND_WRITE_ZEROES)) {
      this.writeZeroes = (offset, length, mayUnmap) => this.#zero(offset, length, mayUnmap);
    }
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    if (this.blockSize > sectorSize) await this.#blocks.read(offset, target);
    else await this.fill(offset, target);
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    if (this.blockSize > sectorSize) await this.#blocks.write(offset, source);
    else await this.store(offset, source);
  }

  async flush(): Promise<void> {
    if (this.#flushes) await this.#requests.send(command.FLUSH, 0, 0, 0);
    else if (this.#connection.error !== undefined) throw this.#connection.error;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  allocate(): Uint8Array {
    return new Uint8Array(this.pieceLength);
  }

  async fill(offset: number, target: Uint8Array): Promise<number> {
    await this.#inPieces(offset, target.length, (at, from, count) =>
      this.#requests.send(command.READ, 0, at, count, target.subarray(from, from + count)),
    );
    return target.length;
  }

  store(offset: number, source: Uint8Array): Promise<void> {
    return this.#inPieces(offset, source.length, (at, from, count) =>
      this.#requests.send(
        command.WRITE,
        this.#writeFlags,
        at,
        count,
        undefined,
        source.subarray(from, from + count),
      ),
    );
  }

  /** Blocks that lie in the range with all their bytes; a trim need not do more. */
  #trim(offset: number, length: number): Promise<void> {
    const from = this.#blocks.up(offset);
    const to = this.#blocks.down(offset + length);
    return this.#inPieces(from, to - from, (at, _from, count) =>
      this.#requests.send(command.TRIM, this.#writeFlags, at, count),
    );
  }

  async #zero(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    const end = offset + length;
    const from = Math.min(this.#blocks.up(offset), end);
    const to = Math.max(this.#blocks.down(end), from);
    await this.write(offset, new Uint8Array(from - offset));
    await this.write(to, new Uint8Array(end - to));
    const flags = this.#writeFlags | (mayUnmap ? 0 : commandFlag.NO_HOLE);
    await this.#inPieces(from, to - from, (at, _from, count) =>
      this.#requests.send(command.WRITE_ZEROES, flags, at, count),
    );
  }

  /** One request after the other, each as large as the server takes. */
  async #inPieces(
    offset: number,
    length: number,
    send: (offset: number, from: number, count: number) => Promise<void>,
  ): Promise<void> {
    for (let from = 0; from < length; from += this.pieceLength) {
      await send(offset + from, from, Math.min(this.pieceLength, length - from));
    }
  }

  async #close(): Promise<void> {
    const closed = new HostError('IO_ERROR', `${this.uri} is closed`);
    await this.#connection.close(requestHeader(command.DISC, 0, 0, 0, 0));
    this.#requests.end(closed);
  }
}
