import { closeSync } from 'node:fs';
import { constants, endianness } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { eventLoopCalls } from '../../ffi/event-loop.ts';
import { systemCalls } from '../../ffi/files.ts';
import { linuxCalls } from '../../ffi/linux.ts';
import { type Mapping, type Poller, pollEvents } from '../../ffi/system-calls.ts';
import { uringCalls } from '../../ffi/uring.ts';
import type { FileEngine } from '../engine.ts';
import {
  cqe,
  cqOffsets,
  FSYNC_DATASYNC,
  feature,
  mapAt,
  opcode,
  params,
  probe,
  registration,
  sqe,
  sqOffsets,
} from './layout.ts';

/** Operations under way at a time; the rest wait for them. */
const entries = 128;
const nonBlockingCloseOnExec = 0x800 | 0x80000;

/** An operation that was asked for. */
interface Operation {
  readonly opcode: number;
  readonly fd: number;
  readonly offset: number;
  /** Kept until the kernel is done with it. */
  readonly memory: Uint8Array | undefined;
  readonly flags: number;
  readonly resolve: (result: number) => void;
  readonly reject: (error: Error) => void;
}

/** What the kernel gave, to be given back. */
interface Parts {
  readonly fd: number;
  readonly event: number;
  readonly rings: Mapping;
  readonly sqes: Mapping;
  readonly info: DataView;
}

/**
 * Moves bytes of files through io_uring: requests and answers cross in memory shared with the kernel. One call of the
 * system hands over all that was asked for in one turn of the event loop, and one event tells of all that is done.
 */
export class Uring implements FileEngine {
  readonly name = 'io_uring';
  readonly #parts: Parts;
  readonly #poller: Poller;
  readonly #sqes: DataView;
  readonly #words: Uint32Array;
  readonly #cqes: DataView;
  /** Indexes in `#words`. */
  readonly #sqTail: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #sqMask: number;
  readonly #cqMask: number;
  /** By the number that the kernel gives back. */
  readonly #running = new Map<number, Operation>();
  readonly #free: number[] = [];
  readonly #waiting: Operation[] = [];
  readonly #counter = new Uint8Array(8);
  /** Entries in the ring that the kernel was not told of. */
  #unsubmitted = 0;
  #scheduled = false;
  #watched = false;
  #closed = false;

  private constructor(parts: Parts, poller: (ready: () => void) => Poller) {
    this.#parts = parts;
    const { info } = parts;
    const at = (offset: number): number => info.getUint32(offset, true);
    const sq = (field: keyof typeof sqOffsets): number => at(params.sq_off + sqOffsets[field]);
    const cq = (field: keyof typeof cqOffsets): number => at(params.cq_off + cqOffsets[field]);
    const ring = parts.rings.view(0, ringLength(info));
    this.#words = new Uint32Array(ring);
    this.#cqes = new DataView(ring, cq('cqes'));
    this.#sqes = new DataView(parts.sqes.view(0, at(params.sq_entries) * sqe.size));
    this.#sqTail = sq('tail') / 4;
    this.#cqHead = cq('head') / 4;
    this.#cqTail = cq('tail') / 4;
    this.#sqMask = this.#words[sq('ring_mask') / 4]!;
    this.#cqMask = this.#words[cq('ring_mask') / 4]!;
    // Entry n of the ring is entry n of the table, always.
    for (let i = 0; i < at(params.sq_entries); i++) this.#words[sq('array') / 4 + i] = i;
    for (let id = entries - 1; id >= 0; id--) this.#free.push(id);
    this.#poller = poller(() => this.#happened());
  }

  /** A ring of its own; `undefined` where there is none to be had: another system, an old kernel, a container's rules. */
  static open(): Uring | undefined {
    if (process.platform !== 'linux' || endianness() !== 'LE' || !isMainThread) return undefined;
    const info = new Uint8Array(params.size);
    const fd = uringCalls().setup(entries, info);
    if (fd < 0) return undefined;
    const undo: (() => void)[] = [() => closeSync(fd)];
    const giveUp = (): undefined => {
      for (const step of undo.reverse()) step();
      return undefined;
    };
    const view = new DataView(info.buffer);
    const features = view.getUint32(params.features, true);
    if ((features & feature.SINGLE_MMAP) === 0 || (features & feature.NODROP) === 0 || !canAll(fd))
      return giveUp();
    const rings = systemCalls().mapShared(fd, mapAt.rings, ringLength(view));
    if (typeof rings === 'number') return giveUp();
    undo.push(() => rings.unmap());
    const sqesLength = view.getUint32(params.sq_entries, true) * sqe.size;
    const sqes = systemCalls().mapShared(fd, mapAt.sqes, sqesLength);
    if (typeof sqes === 'number') return giveUp();
    undo.push(() => sqes.unmap());
    const event = linuxCalls().eventfd(0, nonBlockingCloseOnExec);
    if (event < 0) return giveUp();
    undo.push(() => closeSync(event));
    const argument = new Uint8Array(Int32Array.of(event).buffer);
    if (uringCalls().register(fd, registration.EVENTFD, argument, 1) < 0) return giveUp();
    // A container's rules may forbid any of the three calls.
    if (uringCalls().enter(fd, 0) < 0) return giveUp();
    let listener = (): void => {};
    const poller = eventLoopCalls().poller(event, () => listener());
    if (typeof poller === 'number') return giveUp();
    return new Uring({ fd, event, rings, sqes, info: view }, (ready) => {
      listener = ready;
      return poller;
    });
  }

  read(fd: number, target: Uint8Array, offset: number): Promise<number> {
    return this.#ask(opcode.READ, fd, offset, target, 0);
  }

  write(fd: number, source: Uint8Array, offset: number): Promise<number> {
    return this.#ask(opcode.WRITE, fd, offset, source, 0);
  }

  async sync(fd: number): Promise<void> {
    await this.#ask(opcode.FSYNC, fd, 0, undefined, FSYNC_DATASYNC);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#poller.close();
    const { fd, event, rings, sqes } = this.#parts;
    rings.unmap();
    sqes.unmap();
    closeSync(fd);
    closeSync(event);
  }

  #ask(
    code: number,
    fd: number,
    offset: number,
    memory: Uint8Array | undefined,
    flags: number,
  ): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ opcode: code, fd, offset, memory, flags, resolve, reject });
      this.#schedule();
    });
  }

  /** In a later turn: the kernel may say the same for a while. */
  #askAgain(operation: Operation): void {
    setImmediate(() => {
      this.#waiting.push(operation);
      this.#schedule();
    });
  }

  /** What is asked for in one turn goes to the kernel together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#submit();
    });
  }

  #submit(): void {
    if (this.#closed) return;
    while (this.#free.length > 0 && this.#waiting.length > 0) this.#put(this.#waiting.shift()!);
    if (this.#unsubmitted > 0) {
      const taken = uringCalls().enter(this.#parts.fd, this.#unsubmitted);
      if (taken > 0) this.#unsubmitted -= taken;
      // It was interrupted, or lacks memory for now: what is in the ring stays there.
      if (this.#unsubmitted > 0) setImmediate(() => this.#schedule());
    }
    // What the page cache has is done already.
    this.#collect();
    if (this.#watched === this.#running.size > 0) return;
    this.#watched = !this.#watched;
    if (this.#watched) this.#poller.start(pollEvents.READABLE);
    else this.#poller.stop();
  }

  #put(operation: Operation): void {
    const id = this.#free.pop()!;
    this.#running.set(id, operation);
    const tail = this.#words[this.#sqTail]!;
    const at = (tail & this.#sqMask) * sqe.size;
    const entry = this.#sqes;
    const { memory, offset } = operation;
    for (let i = 0; i < sqe.size; i += 8) entry.setFloat64(at + i, 0);
    entry.setUint8(at + sqe.opcode, operation.opcode);
    entry.setInt32(at + sqe.fd, operation.fd, true);
    entry.setBigUint64(at + sqe.off, BigInt(offset), true);
    if (memory !== undefined) {
      // Of no shared buffer: a storage is lent none. From 65 bytes on they lie outside of the engine's heap, and stay there.
      const address = systemCalls().addressOf(memory.buffer as ArrayBuffer) + BigInt(memory.byteOffset);
      entry.setBigUint64(at + sqe.addr, address, true);
      entry.setUint32(at + sqe.len, memory.length, true);
    }
    entry.setUint32(at + sqe.op_flags, operation.flags, true);
    entry.setUint32(at + sqe.user_data, id, true);
    // The entry is there before the kernel sees that it is.
    Atomics.store(this.#words, this.#sqTail, (tail + 1) >>> 0);
    this.#unsubmitted++;
  }

  #happened(): void {
    if (this.#closed) return;
    linuxCalls().read(this.#parts.event, this.#counter, 8);
    this.#submit();
  }

  #collect(): void {
    let head = this.#words[this.#cqHead]!;
    const tail = Atomics.load(this.#words, this.#cqTail);
    if (head === tail) return;
    for (; head !== tail; head = (head + 1) >>> 0) {
      const at = (head & this.#cqMask) * cqe.size;
      const id = this.#cqes.getUint32(at + cqe.user_data, true);
      const result = this.#cqes.getInt32(at + cqe.res, true);
      const operation = this.#running.get(id);
      if (operation === undefined) continue;
      this.#running.delete(id);
      this.#free.push(id);
      if (result >= 0) operation.resolve(result);
      else if (isForNow(result)) this.#askAgain(operation);
      else operation.reject(systemError(result));
    }
    // The kernel may use the places again, now that they were read.
    Atomics.store(this.#words, this.#cqHead, head);
    if (this.#waiting.length > 0) this.#schedule();
  }
}

function ringLength(info: DataView): number {
  const sq =
    info.getUint32(params.sq_off + sqOffsets.array, true) + info.getUint32(params.sq_entries, true) * 4;
  const cq =
    info.getUint32(params.cq_off + cqOffsets.cqes, true) + info.getUint32(params.cq_entries, true) * cqe.size;
  return Math.ceil(Math.max(sq, cq) / 4) * 4;
}

/** Whether the kernel knows all operations that are used here. */
function canAll(fd: number): boolean {
  const answer = new Uint8Array(probe.header + probe.ops * probe.entry);
  if (uringCalls().register(fd, registration.PROBE, answer, probe.ops) < 0) return false;
  const can = (code: number): boolean =>
    (answer[probe.header + code * probe.entry + probe.flags]! & probe.SUPPORTED) !== 0;
  return Object.values(opcode).every(can);
}

/** It was interrupted, or the kernel lacks something for the moment. */
const isForNow = (result: number): boolean =>
  result === -constants.errno.EINTR || result === -constants.errno.EAGAIN;

function systemError(result: number): Error {
  const code = getSystemErrorName(result);
  return Object.assign(new Error(code), { code, errno: -result });
}

/** Tries whether files can go through io_uring here. */
export function hasUring(): boolean {
  const uring = Uring.open();
  uring?.close();
  return uring !== undefined;
}
