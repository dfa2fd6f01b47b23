import type { OpenDevice } from '../../driver/open-device.ts';
import type { OpenQueue } from '../../driver/queue.ts';
import { HostError, PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { joined } from '../../spec/joined.ts';
import { type WindowAccess, WindowRoom } from './driver-room.ts';
import type { fs } from './spec.ts';
import { errnoName, FsError } from './spec-errno.ts';
import {
  type FuseOpcodeName,
  fuseOpcode,
  fuseVersion,
  type InitFlagName,
  initFlag,
  initWord,
  rootNode,
} from './spec-fuse.ts';
import { fuseRequests } from './spec-fuse-requests.ts';
import {
  fuse_batch_forget_in,
  fuse_forget_in,
  fuse_forget_one,
  fuse_in_header,
  fuse_init_in,
  fuse_init_out,
  fuse_interrupt_in,
  fuse_out_header,
} from './spec-fuse-structs.ts';
import { encodeName } from './spec-names.ts';

/** Who the driver says that asks. */
export interface Asker {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** What the driver can do with what INIT offers. */
const understood: readonly InitFlagName[] = [
  'ASYNC_READ',
  'POSIX_LOCKS',
  'ATOMIC_O_TRUNC',
  'BIG_WRITES',
  'FLOCK_LOCKS',
  'DO_READDIRPLUS',
  'ASYNC_DIO',
  'PARALLEL_DIROPS',
  'MAX_PAGES',
  'SETXATTR_EXT',
  'INIT_EXT',
  'HAS_EXPIRE_ONLY',
];

/** Nodes that one request forgets at most. */
const mostForgotten = 256;

/** What an answer may be wrong by: everything the device wrote is looked at here before anything believes it. */
const badAnswer = (name: string, what: string): PeerError =>
  new PeerError('BAD_RESPONSE', `the file system device answered ${name} ${what}`);

/** A request that is under way. */
export interface Sent {
  /** What stands behind the header. */
  readonly answer: Promise<Uint8Array>;
  /** Asks the device to give it up: the answer is EINTR then, mostly. */
  interrupt(): Promise<void>;
}

/** The driver's side of a FUSE session: requests, answers, and what is to be forgotten. */
export class FuseClient {
  readonly #device: OpenDevice<typeof fs>;
  readonly #hiprio: OpenQueue;
  readonly #requestqs: readonly OpenQueue[];
  readonly #asker: Asker;
  #nextQueue = 0;
  #unique = 0n;
  #flags: ReadonlySet<number> = new Set();
  /** The minor version of the session. */
  minor = 0;
  /** Bytes of data that a WRITE, and a READ, has at most. */
  mostData = 4096;
  /** The window, where the device has one and the caller lent it. */
  room: WindowRoom | undefined;
  /** Nodes to be forgotten, and how many times. */
  readonly #forgotten = new Map<number, number>();
  /** Nodes of which so many forgets are not meant: they are open. */
  readonly #kept = new Map<number, number>();

  constructor(device: OpenDevice<typeof fs>, requestQueues: number, asker: Asker) {
    this.#device = device;
    this.#hiprio = device.queue('hiprio');
    this.#requestqs = Array.from({ length: requestQueues }, (_, number) => device.queue('requestq', number));
    this.#asker = asker;
  }

  /** True when both sides can do it. */
  has(flag: InitFlagName): boolean {
    return this.#flags.has(initFlag[flag]);
  }

  /** Begins the session, by the newest version that both sides speak. */
  async init(window?: WindowAccess): Promise<void> {
    const names = window === undefined ? understood : [...understood, 'MAP_ALIGNMENT' as const];
    const bits = names.map((name) => initFlag[name]);
    const answer = await this.request('INIT', 0, [
      fuse_init_in.encode({
        ...fuseVersion,
        max_readahead: 2 ** 20,
        flags: initWord(bits, 0),
        flags2: initWord(bits, 32),
      }),
    ]);
    const { major, minor, flags, flags2, max_write, max_pages, map_alignment } = fuse_init_out.read(
      dataView(answer),
    );
    if (major !== fuseVersion.major) throw badAnswer('INIT', `with major version ${major}`);
    this.minor = Math.min(minor, fuseVersion.minor);
    const agreed = bits.filter((bit) => ((bit < 32 ? flags >>> bit : flags2 >>> (bit - 32)) & 1) === 1);
    this.#flags = new Set(agreed.filter((bit) => bit < 32 || agreed.includes(initFlag.INIT_EXT)));
    if (window !== undefined && this.has('MAP_ALIGNMENT')) {
      const alignment = WindowRoom.alignmentOf(map_alignment);
      if (alignment === undefined) throw badAnswer('INIT', `with an alignment of 2^${map_alignment}`);
      this.room = new WindowRoom(window, alignment);
    }
    const pages = this.has('MAX_PAGES') ? Math.max(1, max_pages) : 32;
    this.mostData = Math.min(Math.max(4096, max_write), pages * 4096, 2 ** 24);
  }

  /**
   * Sends a request, and gives what stands behind the header of its answer.
   *
   * @param room Bytes of data in the answer at most, behind its structure.
   * @throws {FsError} what the device answers.
   * @throws {PeerError} BAD_RESPONSE for what is no answer to it: the device is given up.
   */
  request(name: FuseOpcodeName, nodeId: number, parts: readonly Uint8Array[], room = 0): Promise<Uint8Array> {
    return this.send(name, nodeId, parts, room).answer;
  }

  /** The same, of what may have to be given up. */
  send(name: FuseOpcodeName, nodeId: number, parts: readonly Uint8Array[], room = 0): Sent {
    const unique = this.#unique++ * 2n + 2n;
    const form = fuseRequests[name];
    const least = form.out?.size ?? 0;
    const request = this.#encode(name, nodeId, unique, parts);
    const queue = this.#requestqs[this.#nextQueue++ % this.#requestqs.length];
    if (queue === undefined) throw new HostError('DEVICE_GONE', 'the device has no request queue');
    const answer = queue
      .request(request, fuse_out_header.size + least + room)
      .then((bytes) => this.#answer(name, unique, bytes, room > 0 && form.out === undefined ? 0 : least));
    return {
      answer,
      interrupt: () => this.#prioritise('INTERRUPT', 0, [fuse_interrupt_in.encode({ unique })]),
    };
  }

  /** A node that the device told of once is to be forgotten once; it is told so with the next `flush`. */
  forget(nodeId: number): void {
    if (nodeId === rootNode || nodeId === 0) return;
    const kept = this.#kept.get(nodeId) ?? 0;
    if (kept > 0) {
      if (kept === 1) this.#kept.delete(nodeId);
      else this.#kept.set(nodeId, kept - 1);
      return;
    }
    this.#forgotten.set(nodeId, (this.#forgotten.get(nodeId) ?? 0) + 1);
    if (this.#forgotten.size >= mostForgotten) void this.flush();
  }

  /** The next time that the node is to be forgotten it is not: somebody else does it later. */
  keep(nodeId: number): void {
    if (nodeId !== rootNode) this.#kept.set(nodeId, (this.#kept.get(nodeId) ?? 0) + 1);
  }

  /**
   * Tells the device what is to be forgotten.
   *
   * @spec 5.11.6.2.2 driver: Device Types / File System Device / Device Operation / Device Operation: High Priority Queue
   */
  async flush(): Promise<void> {
    const all = [...this.#forgotten];
    const [first] = all;
    if (first === undefined || this.#hiprio.closed) return;
    this.#forgotten.clear();
    if (all.length === 1) {
      const [nodeId, nlookup] = first;
      await this.#prioritise('FORGET', nodeId, [fuse_forget_in.encode({ nlookup })]);
      return;
    }
    await this.#prioritise('BATCH_FORGET', 0, [
      fuse_batch_forget_in.encode({ count: all.length }),
      ...all.map(([nodeid, nlookup]) => fuse_forget_one.encode({ nodeid, nlookup })),
    ]);
  }

  async #prioritise(name: FuseOpcodeName, nodeId: number, parts: readonly Uint8Array[]): Promise<void> {
    const unique = this.#unique++ * 2n + 2n;
    // There is no answer to any of them.
    await this.#hiprio.request(this.#encode(name, nodeId, unique, parts), 0);
  }

  #encode(
    name: FuseOpcodeName,
    nodeid: number,
    unique: bigint,
    parts: readonly Uint8Array[],
  ): Uint8Array<ArrayBuffer> {
    const length = parts.reduce((sum, part) => sum + part.length, fuse_in_header.size);
    const { uid, gid, pid } = this.#asker;
    const header = fuse_in_header.encode({
      len: length,
      opcode: fuseOpcode[name],
      unique,
      ...{ nodeid, uid, gid, pid },
    });
    return joined(header, ...parts);
  }

  #answer(name: FuseOpcodeName, unique: bigint, bytes: Uint8Array, least: number): Uint8Array {
    try {
      return checkAnswer(name, unique, bytes, least);
    } catch (error) {
      if (error instanceof PeerError) this.#device.fail(error);
      throw error;
    }
  }
}

function checkAnswer(name: FuseOpcodeName, unique: bigint, bytes: Uint8Array, least: number): Uint8Array {
  if (bytes.length < fuse_out_header.size) throw badAnswer(name, `with ${bytes.length} bytes`);
  const header = fuse_out_header.read(dataView(bytes));
  if (header.unique !== unique) throw badAnswer(name, `of another request: ${header.unique} for ${unique}`);
  if (header.len < fuse_out_header.size || header.len > bytes.length) {
    throw badAnswer(name, `with ${header.len} bytes of ${bytes.length}`);
  }
  if (header.error > 0 || header.error < -4095) throw badAnswer(name, `with error ${header.error}`);
  if (header.error !== 0) throw new FsError(errnoName(header.error), `${name}: ${errnoName(header.error)}`);
  const body = bytes.subarray(fuse_out_header.size, header.len);
  if (body.length < least) throw badAnswer(name, `with ${body.length} bytes where ${least} belong`);
  return body;
}

/** A name with a NUL behind it. */
export function terminated(name: string): Uint8Array {
  if (name.includes('\0')) throw new FsError('EINVAL', 'a name has a NUL in it');
  return joined(encodeName(name), Uint8Array.of(0));
}
