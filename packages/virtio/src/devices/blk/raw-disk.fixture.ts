import { legacyInterface } from '../../device/legacy.ts';
import { open } from '../../driver/open.ts';
import type { VirtioError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import { FeatureSet, type ReservedFeatureName } from '../../spec/features.ts';
import { type Endian, encodeFor } from '../../spec/guest-endian.ts';
import { difference } from '../../testing/fixtures/pattern.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import type { BufferElement } from '../../virtqueue/queue.ts';
import { type BlkDevice, type BlkOptions, blkDevice } from './device.ts';
import { blk } from './spec.ts';
import { requestStatusName, virtio_blk_discard_write_zeroes, virtio_blk_req } from './spec-requests.ts';
import type { Storage } from './storage.ts';

/** A request byte by byte, as no driver of ours would send it. */
export interface RawRequest {
  readonly type: number;
  readonly sector?: number | bigint;
  /** What the device reads behind the header. */
  readonly data?: Uint8Array;
  /** Bytes that the device may write before the status. */
  readonly answer?: number;
  /** Lengths of the elements; what they leave over is one more. */
  readonly readableCuts?: readonly number[];
  readonly writableCuts?: readonly number[];
}

export interface RawAnswer {
  readonly status: string;
  /** What stands before the status. */
  readonly data: Uint8Array;
  /** The used length. */
  readonly written: number;
}

export interface RawDisk {
  readonly device: BlkDevice;
  readonly transport: Loopback;
  readonly errors: VirtioError[];
  request(request: RawRequest): Promise<RawAnswer>;
  /** Offers elements as they are. */
  submit(readable: readonly BufferElement[], writable: readonly BufferElement[]): Promise<number>;
  /** Resets the device, and negotiates anew. */
  reopen(): Promise<void>;
}

/** A disk behind a driver that checks nothing. */
export async function rawDisk(
  options: BlkOptions,
  negotiate: {
    readonly without?: readonly OwnFeatureNameOf<typeof blk>[];
    readonly reserved?: readonly ReservedFeatureName[];
    readonly restored?: Loopback;
    /** Through the legacy interface, with these features of its own. */
    readonly legacy?: { readonly endian: Endian; readonly bits: readonly number[] };
  } = {},
): Promise<RawDisk> {
  const errors: VirtioError[] = [];
  const device = blkDevice({
    ...options,
    ...(negotiate.reserved === undefined ? {} : { reserved: negotiate.reserved }),
  });
  const { legacy } = negotiate;
  const transport = new Loopback(device, {
    onError: (error) => void errors.push(error),
    legacy: legacy && legacyInterface(legacy.endian),
  });
  const write = transport.writeDriverFeatures.bind(transport);
  transport.writeDriverFeatures = (chosen) => write(chosen.union(FeatureSet.of(legacy?.bits ?? [])));
  const features = blk.ownFeatures.filter((name) => !negotiate.without?.includes(name));
  const { reserved } = negotiate;
  const start = () => open(transport, blk, { features, ...(reserved === undefined ? {} : { reserved }) });
  let opened = await start();

  const submit = (readable: readonly BufferElement[], writable: readonly BufferElement[]): Promise<number> =>
    new Promise((resolve, reject) => {
      opened
        .queue('requestq')
        .submit(readable, writable, (written, failure) =>
          failure === undefined ? resolve(written) : reject(failure),
        );
    });

  return {
    device,
    transport,
    errors,
    submit,
    async reopen() {
      opened = await start();
    },
    async request({ type, sector = 0, data = new Uint8Array(), answer = 0, ...cuts }) {
      const header = encodeFor(legacy?.endian ?? 'little', virtio_blk_req, { type, sector: BigInt(sector) });
      const readableLength = header.length + data.length;
      const writableLength = answer + 1;
      const address = transport.allocator.allocate(readableLength + writableLength);
      const writableAddress = address + readableLength;
      transport.memory.write(address, header);
      transport.memory.write(address + header.length, data);
      transport.memory.write(writableAddress, new Uint8Array(writableLength).fill(0xee));
      try {
        const written = await submit(
          elements(address, readableLength, cuts.readableCuts),
          elements(writableAddress, writableLength, cuts.writableCuts),
        );
        const bytes = transport.memory.read(writableAddress, writableLength);
        return {
          status: requestStatusName(bytes[answer] ?? 0xff),
          data: bytes.subarray(0, answer),
          written,
        };
      } finally {
        transport.allocator.free(address);
      }
    },
  };
}

/** The data of a discard, write zeroes or secure erase request: sector, count, flags. */
export function segments(
  ...list: readonly (readonly [sector: number | bigint, count: number, flags?: number])[]
): Uint8Array {
  const { size } = virtio_blk_discard_write_zeroes;
  const data = new Uint8Array(list.length * size);
  for (const [index, [sector, num_sectors, flags = 0]] of list.entries()) {
    const fields = { unmap: flags & 1, reserved: flags >>> 1 };
    const encoded = virtio_blk_discard_write_zeroes.encode({
      sector: BigInt(sector),
      num_sectors,
      flags: fields,
    });
    data.set(encoded, index * size);
  }
  return data;
}

export { pattern } from '../../testing/fixtures/pattern.ts';

/** Compares large arrays, which a matcher that explains takes seconds for. */
export function sameBytes(actual: Uint8Array, expected: Uint8Array): boolean {
  return actual.length === expected.length && difference(actual, expected) === undefined;
}

/** A storage that takes its time: every operation waits until the test lets it go on, or at once when open. */
export interface SlowStorage extends Storage {
  /** Operations that wait, by name. */
  readonly waiting: string[];
  /** Everything that was called, in order. */
  readonly log: string[];
  /** Lets the oldest operation go on; with an error, fail. */
  step(error?: Error): Promise<void>;
  /** Lets everything go on, now and later. */
  release(): void;
}

/** A storage over another that answers later. */
export function slowStorage(base: Storage, open = false): SlowStorage {
  const gates: (() => void)[] = [];
  const waiting: string[] = [];
  const log: string[] = [];
  let free = open;
  let failure: Error | undefined;
  const later = async (name: string, work: () => void | Promise<void>): Promise<void> => {
    log.push(name);
    if (!free) {
      waiting.push(name);
      await new Promise<void>((resolve) => gates.push(resolve));
    } else await Promise.resolve();
    const error = failure;
    failure = undefined;
    if (error !== undefined) throw error;
    await work();
  };
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    get size() {
      return base.size;
    },
    readOnly: base.readOnly,
    immediate: false,
    waiting,
    log,
    async step(error) {
      failure = error;
      waiting.shift();
      gates.shift()?.();
      await settle();
    },
    release() {
      free = true;
      waiting.length = 0;
      for (const go of gates.splice(0)) go();
    },
    read: (offset, target) => later(`read ${offset} ${target.length}`, () => base.read(offset, target)),
    write: (offset, source) => later(`write ${offset} ${source.length}`, () => base.write(offset, source)),
    flush: () => later('flush', () => base.flush()),
    discard: (offset, length) => later(`discard ${offset} ${length}`, () => base.discard?.(offset, length)),
    writeZeroes: (offset, length, unmap) =>
      later(`zero ${offset} ${length}`, () => base.writeZeroes?.(offset, length, unmap)),
    secureErase: (offset, length) =>
      later(`erase ${offset} ${length}`, () => base.secureErase?.(offset, length)),
  };
}

function elements(address: number, length: number, cuts: readonly number[] = []): BufferElement[] {
  const parts: BufferElement[] = [];
  let at = 0;
  for (const cut of [...cuts, length]) {
    const taken = Math.min(cut, length - at);
    if (taken > 0) parts.push({ address: address + at, length: taken });
    at += taken;
  }
  return parts;
}
