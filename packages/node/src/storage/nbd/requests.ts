import { HostError } from 'virtio/errors';
import { printable } from '../printable.ts';
import type { Connection } from './connection.ts';
import {
  chunk,
  command,
  ENOSPC,
  ESHUTDOWN,
  errorNames,
  length,
  longestString,
  magic,
  nameOf,
  replyFlag,
} from './protocol.ts';

/** A request that was sent and not answered to its end. */
interface Pending {
  readonly type: number;
  readonly offset: number;
  /** Where the bytes go that a read asked for. */
  readonly target: Uint8Array;
  /** Bytes of it that came, and where: pairs of a beginning and an end. */
  filled: number;
  readonly pieces: (readonly [from: number, end: number])[];
  error: HostError | undefined;
  readonly resolve: () => void;
  readonly reject: (error: HostError) => void;
}

/** Who takes requests. */
export interface RequestSender {
  /** Why every request fails from now on. */
  readonly error: HostError | undefined;
  /** Sends a request. `target` and `source` are the caller's again when it is answered. */
  send(
    type: number,
    flags: number,
    offset: number,
    count: number,
    target?: Uint8Array,
    source?: Uint8Array,
  ): Promise<void>;
  /** Takes leave of the server. */
  close(): Promise<void>;
}

const nothing = new Uint8Array();
/** Bytes of an error chunk: the message, and fields around it. */
const longestError = longestString + 64;

/** Sends requests, and sorts what comes back. Answers come in any order, and in pieces of each other. */
export class Requests implements RequestSender {
  readonly #connection: Connection;
  readonly #structured: boolean;
  readonly #pending = new Map<number, Pending>();
  readonly #header = new Uint8Array(length.structuredReply);
  readonly #fields: DataView = new DataView(this.#header.buffer);
  #cookie = 0;
  /** What the server said when it wanted to be left. */
  #leaving: HostError | undefined;

  constructor(connection: Connection, structured: boolean) {
    this.#connection = connection;
    this.#structured = structured;
  }

  get error(): HostError | undefined {
    return this.#connection.error;
  }

  /** Reads answers until the connection ends. Never throws. */
  async listen(): Promise<void> {
    try {
      for (;;) {
        const served = this.#serve();
        if (served !== undefined) await served;
      }
    } catch (error) {
      // A failure of the connection reached everybody already; anything else is a fault of ours, and ends it too.
      const cause =
        error instanceof HostError ? error : new HostError('IO_ERROR', String(error), { cause: error });
      this.#connection.fail(cause);
    }
  }

  /** Everything that waits fails: the connection is no more. */
  end(error: HostError): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
  }

  send(
    type: number,
    flags: number,
    offset: number,
    count: number,
    target: Uint8Array = nothing,
    source: Uint8Array = nothing,
  ): Promise<void> {
    if (this.#connection.error !== undefined) return Promise.reject(this.#connection.error);
    return new Promise((resolve, reject) => {
      const cookie = this.#nextCookie();
      const came = { filled: 0, pieces: [] };
      this.#pending.set(cookie, { type, offset, target, ...came, error: undefined, resolve, reject });
      this.#connection.send(requestHeader(type, flags, cookie, offset, count), source);
    });
  }

  async close(): Promise<void> {
    await this.#connection.close(goodbye());
    this.end(new HostError('IO_ERROR', `${this.#connection.name} is closed`));
  }

  #nextCookie(): number {
    do this.#cookie = (this.#cookie + 1) % 2 ** 32;
    while (this.#pending.has(this.#cookie));
    return this.#cookie;
  }

  async #serve(): Promise<void> {
    const header = this.#header;
    await this.#connection.read(header.subarray(0, length.simpleReply));
    const found = this.#fields.getUint32(0);
    if (found === magic.SIMPLE_REPLY) {
      await this.#simple(this.#find(8), this.#fields.getUint32(4));
      return;
    }
    if (found !== magic.STRUCTURED_REPLY || !this.#structured) {
      throw this.#connection.violation(`a message that begins with ${found.toString(16)}`);
    }
    await this.#connection.read(header.subarray(length.simpleReply));
    const [flags, type, payload] = [
      this.#fields.getUint16(4),
      this.#fields.getUint16(6),
      this.#fields.getUint32(16),
    ];
    const cookie = this.#find(8);
    await this.#chunk(this.#get(cookie), type, payload);
    if ((flags & replyFlag.DONE) !== 0) this.#done(cookie);
    else if (type === chunk.NONE) throw this.#connection.violation('an empty chunk that is not the last');
  }

  async #simple(cookie: number, error: number): Promise<void> {
    const pending = this.#get(cookie);
    if (error !== 0) pending.error = this.#failure(pending, error, '');
    else if (pending.type === command.READ) {
      if (this.#structured)
        throw this.#connection.violation('a simple reply to a read, where structured ones were agreed');
      await this.#connection.read(pending.target);
      pending.filled = pending.target.length;
    }
    this.#done(cookie);
  }

  async #chunk(pending: Pending, type: number, payload: number): Promise<void> {
    const isRead = pending.type === command.READ;
    if (type === chunk.NONE) {
      if (payload !== 0) throw this.#connection.violation(`an empty chunk of ${payload} bytes`);
    } else if (type === chunk.OFFSET_DATA && isRead) {
      if (payload < 9) throw this.#connection.violation(`data of ${payload} bytes`);
      const at = this.#place(pending, await this.#u64(), payload - 8);
      await this.#connection.read(pending.target.subarray(at, at + payload - 8));
    } else if (type === chunk.OFFSET_HOLE && isRead) {
      if (payload !== 12) throw this.#connection.violation(`a hole of ${payload} bytes`);
      const offset = await this.#u64();
      const bytes = await this.#bytes(4);
      const count = new DataView(bytes.buffer).getUint32(0);
      const at = this.#place(pending, offset, count);
      pending.target.fill(0, at, at + count);
    } else if ((type & chunk.ERROR_BIT) !== 0) {
      if (payload < 6 || payload > longestError)
        throw this.#connection.violation(`an error of ${payload} bytes`);
      const bytes = await this.#bytes(payload);
      const fields = new DataView(bytes.buffer);
      const messageLength = fields.getUint16(4);
      const code = fields.getUint32(0);
      if (messageLength > payload - 6 || code === 0)
        throw this.#connection.violation('an error that is none');
      pending.error ??= this.#failure(pending, code, printable(bytes.subarray(6, 6 + messageLength)));
    } else {
      throw this.#connection.violation(
        `a chunk of type ${type} for NBD_CMD_${nameOf(command, pending.type)}`,
      );
    }
  }

  /** Where in the request's memory a range of the export is. */
  #place(pending: Pending, offset: bigint, count: number): number {
    const { target } = pending;
    const at = Number(offset) - pending.offset;
    if (count === 0 || at < 0 || at + count > target.length || pending.filled + count > target.length) {
      throw this.#connection.violation(`${count} bytes at ${offset}, which nobody asked for`);
    }
    pending.filled += count;
    pending.pieces.push([at, at + count]);
    return at;
  }

  #done(cookie: number): void {
    const pending = this.#get(cookie);
    if (pending.error === undefined && pending.filled !== pending.target.length) {
      throw this.#connection.violation(
        `a read of ${pending.target.length} bytes ended after ${pending.filled}`,
      );
    }
    if (pending.error === undefined && !isGapless(pending.pieces)) {
      throw this.#connection.violation(`a read of ${pending.target.length} bytes got some of them twice`);
    }
    this.#pending.delete(cookie);
    if (pending.error === undefined) pending.resolve();
    else pending.reject(pending.error);
    if (this.#leaving !== undefined) this.#connection.leave(this.#leaving, goodbye());
  }

  /** The cookie in the header; ours take 32 bits of it. */
  #find(at: number): number {
    if (this.#fields.getUint32(at) !== 0) throw this.#connection.violation('an answer to nothing');
    return this.#fields.getUint32(at + 4);
  }

  #get(cookie: number): Pending {
    const pending = this.#pending.get(cookie);
    if (pending === undefined) throw this.#connection.violation('an answer to nothing');
    return pending;
  }

  async #u64(): Promise<bigint> {
    return new DataView((await this.#bytes(8)).buffer).getBigUint64(0);
  }

  async #bytes(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(count);
    await this.#connection.read(bytes);
    return bytes;
  }

  #failure({ type, offset }: Pending, code: number, message: string): HostError {
    const what = `NBD_CMD_${nameOf(command, type)} at ${offset} failed: ${errorNames[code] ?? `error ${code}`}`;
    const said = message === '' ? '' : ` (${message})`;
    if (code === ESHUTDOWN) {
      this.#leaving = new HostError('IO_ERROR', `${this.#connection.name}: the server shuts down`);
    }
    const kind = code === ENOSPC ? 'NO_SPACE' : 'IO_ERROR';
    return new HostError(kind, `${this.#connection.name}: ${what}${said}`);
  }
}

/** Of pieces that have as many bytes as the whole: those that come twice leave others out. */
function isGapless(pieces: Pending['pieces']): boolean {
  if (pieces.length < 2) return true;
  pieces.sort(([one], [other]) => one - other);
  return pieces.every(([from], i) => from === (pieces[i - 1]?.[1] ?? 0));
}

const goodbye = (): Uint8Array => requestHeader(command.DISC, 0, 0, 0, 0);

function requestHeader(
  type: number,
  flags: number,
  cookie: number,
  offset: number,
  count: number,
): Uint8Array {
  const header = new Uint8Array(length.request);
  const fields = new DataView(header.buffer);
  fields.setUint32(0, magic.REQUEST);
  fields.setUint16(4, flags);
  fields.setUint16(6, type);
  fields.setUint32(12, cookie);
  fields.setUint32(16, Math.floor(offset / 2 ** 32));
  fields.setUint32(20, offset % 2 ** 32);
  fields.setUint32(24, count);
  return header;
}
