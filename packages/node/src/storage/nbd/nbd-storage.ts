import type { Storage } from 'virtio/devices/blk';
import { HostError, UsageError } from 'virtio/errors';
import { type BlockAccess, WholeBlocks } from '../whole-blocks.ts';
import { type Destination, dial } from './dial.ts';
import type { Export } from './handshake.ts';
import { LastingRequests } from './lasting-requests.ts';
import { command, commandFlag, longestString, transmissionFlag } from './protocol.ts';
import type { RequestSender } from './requests.ts';
import { type NbdTls, readCertificates } from './tls.ts';
import { type NbdAddress, parseNbdUri } from './uri.ts';

/** How an export is opened. */
export interface NbdOptions {
  readonly readOnly?: boolean;
  /** Milliseconds that the server has until requests can be sent; 30 seconds unless told. */
  readonly patience?: number;
  /**
   * Milliseconds that a connection which broke may take to be made again, while requests wait; 0, which is never, or what
   * the URI says, unless told. Until they are flushed, what was written is kept: up to 64 MiB, then we flush by ourselves.
   */
  readonly reconnectFor?: number;
  /** For `nbds`: instead of the certificates that the URI names. */
  readonly tls?: NbdTls;
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
 * Opens an export of an NBD server, by `nbd://HOST[:PORT][/EXPORT]` or `nbd+unix:///[EXPORT]?socket=PATH`; by `nbds` with
 * TLS, else without. The server needs the fixed newstyle handshake. A connection that breaks is not made again unless
 * `reconnectFor` says so: every request fails from then on.
 *
 * @throws {HostError} NOT_FOUND when nobody listens or there is no such export, BAD_IMAGE for one of less than a sector,
 * else IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for what is no such URI.
 */
export async function openNbd(uri: string, options: NbdOptions = {}): Promise<NbdStorage> {
  const { patience = 30_000, readOnly = false, tls } = options;
  const address = parseNbdUri(uri);
  const longest = options.reconnectFor ?? (address.reconnectFor ?? 0) * 1000;
  if (new TextEncoder().encode(address.exportName).length > longestString) {
    throw new UsageError('BAD_ARGUMENT', `${uri}: the name of the export is too long`);
  }
  if (tls !== undefined && !address.encrypted) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${uri}: certificates are for TLS: give a URI that begins with nbds`,
    );
  }
  const to: Destination = {
    uri,
    address,
    patience,
    tls: address.encrypted ? await tlsFor(address, tls) : undefined,
  };
  if (longest === 0) {
    const { requests, found } = await dial(to);
    return new NbdDisk(uri, requests, found, readOnly);
  }
  const requests = await LastingRequests.open(to, longest);
  const { found } = requests;
  const known = transmissionFlag.READ_ONLY | transmissionFlag.SEND_FLUSH | transmissionFlag.SEND_FUA;
  if (!readOnly && (found.flags & known) === 0) {
    await requests.close();
    const why = 'it has neither flushes nor FUA, so nobody knows what is lost with a connection';
    throw new HostError('IO_ERROR', `${uri}: ${why}: open it read-only, or without connecting again`);
  }
  return new NbdDisk(uri, requests, found, readOnly);
}

async function tlsFor(
  { tlsCertificates, tlsHostname }: NbdAddress,
  told: NbdTls | undefined,
): Promise<NbdTls> {
  const certificates = told ?? (tlsCertificates === undefined ? {} : await readCertificates(tlsCertificates));
  return tlsHostname === undefined ? certificates : { hostname: tlsHostname, ...certificates };
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
  readonly #requests: RequestSender;
  readonly #blocks: WholeBlocks;
  readonly #flushes: boolean;
  /** Flags of whatever writes: where no flush can be asked for, it is to be stable when it is answered. */
  readonly #writeFlags: number;
  #closing: Promise<void> | undefined;

  constructor(uri: string, requests: RequestSender, found: Export, readOnly: boolean) {
    const has = (flag: number): boolean => (found.flags & flag) !== 0;
    this.uri = uri;
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
    else if (this.#requests.error !== undefined) throw this.#requests.error;
  }

  close(): Promise<void> {
    this.#closing ??= this.#requests.close();
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
    return this.#changeBlocks(command.TRIM, this.#writeFlags, from, to);
  }

  async #zero(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    const end = offset + length;
    const from = Math.min(this.#blocks.up(offset), end);
    const to = Math.max(this.#blocks.down(end), from);
    await this.write(offset, new Uint8Array(from - offset));
    await this.write(to, new Uint8Array(end - to));
    const flags = this.#writeFlags | (mayUnmap ? 0 : commandFlag.NO_HOLE);
    await this.#changeBlocks(command.WRITE_ZEROES, flags, from, to);
  }

  /** Whole blocks, by a command without data. */
  async #changeBlocks(type: number, flags: number, from: number, to: number): Promise<void> {
    if (from >= to) return;
    await this.#blocks.change(from, to - from, () =>
      this.#inPieces(from, to - from, (at, _from, count) => this.#requests.send(type, flags, at, count)),
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
}
