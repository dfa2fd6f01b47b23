import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { VirtioError } from '../../errors.ts';
import { type Endian, guestView } from '../../spec/guest-endian.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { type FsDevice, type FsOptions, fsDevice } from './device.ts';
import type { OpenFile } from './file-tree.ts';
import { fs } from './spec.ts';
import { errnoName } from './spec-errno.ts';
import { type FuseOpcodeName, fuseOpcode } from './spec-fuse.ts';
import { fuse_in_header, fuse_init_in, fuse_out_header } from './spec-fuse-structs.ts';
import { encodeName } from './spec-names.ts';

/** A request byte by byte, as no driver of ours would send it. */
export interface RawRequest {
  readonly opcode: FuseOpcodeName | number;
  readonly node?: number;
  readonly unique?: bigint;
  /** What stands behind the header; strings have a NUL behind them. */
  readonly body?: readonly (Uint8Array | string)[];
  /** Bytes that the device may write; 4096 unless told. */
  readonly room?: number;
  /** `len` of the header; the request's length unless told. */
  readonly length?: number;
  readonly queue?: 'hiprio' | 'requestq';
  readonly number?: number;
  /** Of its elements: what they leave over is one more. */
  readonly cuts?: readonly number[];
}

export interface RawAnswer {
  /** `ok`, or an errno by its name. */
  readonly error: string;
  readonly body: Uint8Array;
  /** `len` of the header, and the used length: the same, always. */
  readonly length: number;
  readonly written: number;
}

/** A guest whose driver checks nothing. */
export class RawGuest {
  readonly device: FsDevice;
  readonly transport: Loopback;
  readonly errors: VirtioError[];
  readonly endian: Endian;
  #opened: OpenDevice<typeof fs>;
  #unique = 100n;

  private constructor(
    device: FsDevice,
    transport: Loopback,
    errors: VirtioError[],
    opened: OpenDevice<typeof fs>,
    endian: Endian,
  ) {
    this.device = device;
    this.transport = transport;
    this.errors = errors;
    this.#opened = opened;
    this.endian = endian;
  }

  /** A guest that has begun a session, unless told. */
  static async boot<N extends object, F extends OpenFile>(
    options: Omit<FsOptions<N, F>, 'tag'>,
    how: {
      readonly endian?: Endian;
      readonly init?: false;
      readonly flags?: number;
      readonly notifications?: boolean;
    } = {},
  ): Promise<RawGuest> {
    const errors: VirtioError[] = [];
    const onError = (error: VirtioError): void => void errors.push(error);
    const device = fsDevice({ tag: 'raw', queues: 2, onError, ...options });
    const transport = new Loopback(device, { onError });
    const opened = await openRaw(transport, how.notifications === true);
    const guest = new RawGuest(device, transport, errors, opened, how.endian ?? 'little');
    if (how.init !== false) await guest.init(how.flags);
    return guest;
  }

  /** The same guest after a reset, or after its device went on elsewhere. */
  async reopen(): Promise<void> {
    this.#opened = await openRaw(this.transport, false);
    await this.init();
  }

  get opened(): OpenDevice<typeof fs> {
    return this.#opened;
  }

  encode<F extends Fields>(layout: Struct<F>, value: Partial<StructValue<F>>): Uint8Array {
    const bytes = layout.encode(value);
    layout.write(this.view(bytes), 0, value);
    return bytes;
  }

  view(bytes: Uint8Array): DataView {
    return guestView(bytes, this.endian);
  }

  init(flags = 0xffff_ffff): Promise<RawAnswer> {
    const body = this.encode(fuse_init_in, { major: 7, minor: 45, flags, flags2: 0xffff_ffff });
    return this.request({ opcode: 'INIT', body: [body] });
  }

  async request(request: RawRequest): Promise<RawAnswer> {
    const { room = 4096, queue = 'requestq', number = 0, cuts = [] } = request;
    const body = joined(
      ...(request.body ?? []).map((part) => (typeof part === 'string' ? encodeName(`${part}\0`) : part)),
    );
    const unique = request.unique ?? this.#unique++;
    const header = this.encode(fuse_in_header, {
      len: request.length ?? fuse_in_header.size + body.length,
      opcode: typeof request.opcode === 'number' ? request.opcode : fuseOpcode[request.opcode],
      unique,
      ...{ nodeid: request.node ?? 1, uid: 5, gid: 6, pid: 7 },
    });
    const { bytes, written } = await this.send(joined(header, body), room, queue, number, cuts);
    if (bytes.length === 0) return { error: 'none', body: bytes, length: 0, written };
    const answer = fuse_out_header.read(this.view(bytes));
    if (answer.unique !== unique) throw new Error(`an answer to ${answer.unique} instead of ${unique}`);
    return {
      error: answer.error === 0 ? 'ok' : errnoName(answer.error),
      body: bytes.subarray(fuse_out_header.size, answer.len),
      length: answer.len,
      written,
    };
  }

  /** Sends bytes as they are. */
  async send(
    bytes: Uint8Array,
    room: number,
    queueName: 'hiprio' | 'requestq' = 'requestq',
    number = 0,
    cuts: readonly number[] = [],
  ): Promise<{ readonly bytes: Uint8Array; readonly written: number }> {
    const queue = this.#opened.queue(queueName, number);
    const address = queue.allocator.allocate(bytes.length + room + 1);
    queue.memory.write(address, bytes);
    const answerAt = address + bytes.length;
    const written = await new Promise<number>((resolve, reject) => {
      queue.submit(elements(address, bytes.length, cuts), elements(answerAt, room, cuts), (count, failure) =>
        failure === undefined ? resolve(count) : reject(failure),
      );
    });
    const answer = queue.memory.read(answerAt, Math.min(written, room));
    queue.allocator.free(address);
    return { bytes: answer, written };
  }
}

function openRaw(transport: Loopback, notifications: boolean): Promise<OpenDevice<typeof fs>> {
  return open(transport, fs, {
    features: notifications ? ['NOTIFICATION'] : [],
    queueSize: 1024,
    queues: (negotiated) => [
      { name: 'hiprio' },
      ...(negotiated.has('NOTIFICATION') ? [{ name: 'notification' } as const] : []),
      ...Array.from(
        { length: negotiated.config.num_request_queues ?? 1 },
        (_, number) => ({ name: 'requestq', number }) as const,
      ),
    ],
  });
}

function elements(address: number, length: number, cuts: readonly number[]) {
  const cut: { address: number; length: number }[] = [];
  let at = 0;
  for (const size of cuts) {
    const part = Math.min(size, length - at);
    if (part > 0) cut.push({ address: address + at, length: part });
    at += part;
  }
  if (at < length) cut.push({ address: address + at, length: length - at });
  return cut;
}
