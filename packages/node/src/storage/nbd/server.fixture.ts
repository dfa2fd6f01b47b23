import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a server is to do. Whatever is not said is as it should be. */
export interface Behaviour {
  readonly greeting?: Buffer;
  readonly flags?: number;
  readonly structured?: boolean;
  /** False: NBD_OPT_GO is unknown to it. */
  readonly go?: boolean;
  readonly blockSizes?: readonly [least: number, preferred: number, most: number];
  /** Bytes of the export, instead of those there are. */
  readonly size?: bigint;
  /** Instead of the answer to an option; `undefined` gives that. */
  readonly onOption?: (option: number, data: Buffer) => Buffer | undefined;
  /** The answer to the first message of TLS. */
  readonly afterTls?: Buffer;
  /** Instead of the answer to a request; `undefined` gives that. */
  readonly onRequest?: (request: Request) => Buffer | 'hang up' | undefined;
}

export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
}

const u16 = (...values: number[]): Buffer => pack(2, values);
const u32 = (...values: number[]): Buffer => pack(4, values);
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};
function pack(width: 2 | 4, values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(width * values.length);
  for (const [i, value] of values.entries()) bytes.writeUIntBE(value, i * width, width);
  return bytes;
}

export const optionReply = (option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([u64(0x0003e889045565a9n), u32(option, type, data.length), data]);

export const simpleReply = (cookie: bigint, error: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([u32(0x67446698, error), u64(cookie), data]);

export const structuredChunk = (cookie: bigint, flags: number, type: number, data: Buffer): Buffer =>
  Buffer.concat([u32(0x668e33ef), u16(flags, type), u64(cookie), u32(data.length), data]);

/** The payload of a chunk of data. */
export const dataAt = (offset: number, data: Buffer): Buffer => Buffer.concat([u64(BigInt(offset)), data]);
/** The payload of a chunk that is a hole. */
export const holeAt = (offset: number, length: number): Buffer =>
  Buffer.concat([u64(BigInt(offset)), u32(length)]);
/** The payload of an error. */
export const errorOf = (code: number, message: string): Buffer =>
  Buffer.concat([u32(code), u16(message.length), Buffer.from(message)]);

const greeting = Buffer.from('NBDMAGICIHAVEOPT');

/** A server of one export in memory, which can be told to misbehave. It keeps the requests that it got. */
export class FixtureServer {
  readonly bytes: Buffer;
  /** The bytes as the last flush had them: what is there after it died. */
  readonly stable: Buffer;
  readonly requests: Request[] = [];
  readonly #behaviour: Behaviour;
  readonly #folder: string;
  #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(bytes: Buffer, behaviour: Behaviour) {
    this.bytes = bytes;
    this.stable = Buffer.from(bytes);
    this.#behaviour = behaviour;
    this.#folder = mkdtempSync(join(tmpdir(), 'virtio-nbd-'));
    this.#server = this.#make();
  }

  #make(): Server {
    return createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
      void this.#serve(socket).catch(() => socket.destroy());
    });
  }

  static async start(bytes: Buffer, behaviour: Behaviour = {}): Promise<FixtureServer> {
    const server = new FixtureServer(bytes, behaviour);
    await server.#listen();
    return server;
  }

  #listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(join(this.#folder, 's'), resolve));
  }

  /** As if it were killed, and its machine with it: what was not flushed is gone. */
  async die(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    await new Promise((resolve) => this.#server.close(resolve));
    this.stable.copy(this.bytes);
  }

  async comeBack(): Promise<void> {
    this.#server = this.#make();
    await this.#listen();
  }

  get uri(): string {
    return `nbd+unix:///disk?socket=${join(this.#folder, 's')}`;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  async stop(): Promise<void> {
    await this.die();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #serve(socket: Socket): Promise<void> {
    const take = reader(socket);
    const { flags = 0x6d, structured = true, go = true, blockSizes, onOption } = this.#behaviour;
    socket.write(this.#behaviour.greeting ?? Buffer.concat([greeting, u16(3)]));
    await take(4);
    const size = u64(this.#behaviour.size ?? BigInt(this.bytes.length));
    for (let isOpen = false; !isOpen; ) {
      const header = await take(16);
      const option = header.readUInt32BE(8);
      if (this.#behaviour.afterTls !== undefined && header[0] === 22) {
        socket.write(this.#behaviour.afterTls);
        return;
      }
      const data = await take(header.readUInt32BE(12));
      const instead = onOption?.(option, data);
      if (instead !== undefined) socket.write(instead);
      else if (option === 8) socket.write(optionReply(8, structured ? 1 : 2 ** 31 + 1));
      else if (option === 1) {
        socket.write(Buffer.concat([size, u16(flags)]));
        isOpen = true;
      } else if (option !== 7 || !go) socket.write(optionReply(option, 2 ** 31 + 1));
      else {
        if (blockSizes) socket.write(optionReply(7, 3, Buffer.concat([u16(3), u32(...blockSizes)])));
        socket.write(optionReply(7, 3, Buffer.concat([u16(0), size, u16(flags)])));
        socket.write(optionReply(7, 1));
        isOpen = true;
      }
    }
    for (;;) {
      const header = await take(28);
      const request: Request = {
        flags: header.readUInt16BE(4),
        type: header.readUInt16BE(6),
        cookie: header.readBigUInt64BE(8),
        offset: Number(header.readBigUInt64BE(16)),
        length: header.readUInt32BE(24),
      };
      this.requests.push(request);
      const { type, cookie, offset, length } = request;
      if (type === 2) {
        socket.end();
        return;
      }
      const data = type === 1 ? await take(length) : Buffer.alloc(0);
      const instead = this.#behaviour.onRequest?.(request);
      if (instead === 'hang up') {
        socket.destroy();
        return;
      }
      if (instead !== undefined) {
        socket.write(instead);
        continue;
      }
      if (!this.#sockets.has(socket)) return; // it died meanwhile
      if (type === 1) data.copy(this.bytes, offset);
      if (type === 3) this.bytes.copy(this.stable);
      if (type === 4 || type === 6) this.bytes.fill(0, offset, offset + length);
      const part = type === 0 ? this.bytes.subarray(offset, offset + length) : Buffer.alloc(0);
      if (type === 0 && structured) socket.write(structuredChunk(cookie, 1, 1, dataAt(offset, part)));
      else socket.write(simpleReply(cookie, 0, part));
    }
  }
}

/** Gives a socket's bytes as they are asked for. */
function reader(socket: Socket): (count: number) => Promise<Buffer> {
  let held = Buffer.alloc(0);
  let more: () => void = () => {};
  let ended = false;
  socket.on('data', (part: Buffer) => {
    held = Buffer.concat([held, part]);
    more();
  });
  socket.on('close', () => {
    ended = true;
    more();
  });
  return async (count) => {
    while (held.length < count) {
      if (ended) throw new Error('the client is gone');
      await new Promise<void>((resolve) => {
        more = resolve;
      });
    }
    const taken = held.subarray(0, count);
    held = held.subarray(count);
    return taken;
  };
}
