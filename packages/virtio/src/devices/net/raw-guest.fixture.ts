import type { LegacyInterface } from '../../device/legacy.ts';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { OpenOptions } from '../../driver/options.ts';
import type { VirtioError } from '../../errors.ts';
import type { Endpoint, Link } from '../../link/endpoint.ts';
import { finished, noOffloads, type Offload, type TakenOffloads } from '../../link/offload.ts';
import { FeatureSet } from '../../spec/features.ts';
import { joined } from '../../spec/joined.ts';
import type { StructValue } from '../../spec/layout.ts';
import { Loopback, type LoopbackOptions } from '../../transports/loopback/loopback.ts';
import type { NetDevice } from './device.ts';
import { type NetFeature, net } from './spec.ts';
import { headerLength, virtio_net_hdr } from './spec-header.ts';

/** A header's fields. */
export type HeaderFields = Partial<StructValue<typeof virtio_net_hdr.codecs>>;

/** What came out of a receive queue. */
export interface RawFrame {
  readonly header: StructValue<typeof virtio_net_hdr.codecs>;
  readonly frame: Uint8Array;
  /** Bytes in all, with the header. */
  readonly length: number;
}

/** A guest that does as a test tells it, frame by frame. */
export class RawGuest {
  readonly transport: Loopback;
  readonly opened: OpenDevice<typeof net>;
  /** What the device reported. */
  readonly errors: VirtioError[];
  readonly headerLength: number;

  private constructor(transport: Loopback, opened: OpenDevice<typeof net>, errors: VirtioError[]) {
    this.transport = transport;
    this.opened = opened;
    this.errors = errors;
    this.headerLength = headerLength((feature) => opened.has(feature), transport.legacy !== undefined);
  }

  static async open(
    device: NetDevice,
    features: readonly NetFeature[],
    options: Partial<OpenOptions<typeof net>> = {},
    legacy?: LegacyInterface,
    legacyBits: readonly number[] = [],
  ): Promise<RawGuest> {
    const errors: VirtioError[] = [];
    const transport = new AcceptsMore(device, legacyBits, {
      legacy,
      onError: (error) => void errors.push(error),
    });
    const opened = await open(transport, net, { features, ...options });
    return new RawGuest(transport, opened, errors);
  }

  /** Sends a frame behind a header; settles when the device has used its buffer. */
  async send(frame: Uint8Array, fields: HeaderFields = {}, number = 0): Promise<void> {
    const header = this.opened.encode(virtio_net_hdr, fields).subarray(0, this.headerLength);
    await this.opened.queue('transmitq', number).request(joined(header, frame), 0);
  }

  /** Gives the device a buffer, to come back with a frame in it. */
  async hear(length = 2048, number = 0): Promise<RawFrame> {
    return this.decode(await this.opened.queue('receiveq', number).request(new Uint8Array(), length));
  }

  /** Gives the device so many buffers; nobody cares what becomes of them. */
  give(count: number, number = 0): void {
    for (let i = 0; i < count; i++) this.hear(2048, number).catch(() => {});
  }

  decode(bytes: Uint8Array): RawFrame {
    const whole = new Uint8Array(virtio_net_hdr.size);
    whole.set(bytes.subarray(0, this.headerLength));
    const header = virtio_net_hdr.read(this.opened.view(whole));
    return { header, frame: bytes.slice(this.headerLength), length: bytes.length };
  }

  /** A command and its data; the answer, with what follows it. */
  async command(
    number: number,
    command: number,
    data: readonly number[] = [],
    result = 0,
  ): Promise<Uint8Array> {
    return this.opened.queue('controlq').request(Uint8Array.of(number, command, ...data), 1 + result);
  }
}

/** Has so many pairs of queues opened, and the control queue. */
export const pairsOf =
  (pairs: number): NonNullable<OpenOptions<typeof net>['queues']> =>
  () => [
    ...Array.from({ length: pairs }, (_, number) => [
      { name: 'receiveq' as const, number },
      { name: 'transmitq' as const, number },
    ]).flat(),
    { name: 'controlq' },
  ];

/** Accepts bits besides, which no driver of ours knows. */
class AcceptsMore extends Loopback {
  readonly #bits: FeatureSet;

  constructor(device: NetDevice, bits: readonly number[], options: LoopbackOptions) {
    super(device, options);
    this.#bits = FeatureSet.of(bits);
  }

  override writeDriverFeatures(features: FeatureSet): Promise<void> {
    return super.writeDriverFeatures(features.union(this.#bits));
  }
}

/** The other end of a link, which keeps what it is given. */
export class Far implements Endpoint {
  takes: TakenOffloads = noOffloads;
  readonly frames: { readonly frame: Uint8Array; readonly offload: Offload }[] = [];
  /** Frames that are still taken; then it has no room. */
  patience: number = Number.POSITIVE_INFINITY;
  /** How often the device said that it has room again. */
  rooms = 0;
  onRoom: () => void = () => {};
  /** When the device said that more follow, and when that no more do: how many frames there were. */
  readonly mores: { readonly follow: boolean; readonly frames: number }[] = [];
  readonly device: Endpoint;
  #up: boolean;

  /** At the other end of a device's link, with nothing between. */
  constructor(device: Endpoint, up = true) {
    this.device = device;
    this.#up = up;
    const far = this;
    const link: Link = {
      get up() {
        return far.#up;
      },
      get takes() {
        return far.takes;
      },
      send: (frame, offload = finished) => far.receive(frame, offload),
      room: () => far.room(),
      more: (follow) => void far.mores.push({ follow, frames: far.frames.length }),
    };
    device.attached(link);
  }

  attached(): void {}

  receive(frame: Uint8Array, offload: Offload): boolean {
    if (this.patience === 0) return false;
    this.patience--;
    const tunnel = offload.tunnel && { ...offload.tunnel };
    this.frames.push({ frame: frame.slice(), offload: { ...offload, tunnel } });
    return true;
  }

  room(): void {
    this.rooms++;
    this.onRoom();
  }

  /** It takes so many frames more. */
  makeRoom(patience: number): void {
    this.patience = patience;
    this.device.room();
  }

  set up(up: boolean) {
    this.#up = up;
    this.device.carrier?.(up);
  }
}

/** A frame of so many bytes, from one address to another, of no known protocol. */
export function frameOf(
  length: number,
  seed = 0,
  to: readonly number[] = broadcast,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(Math.max(length, 14)).map((_, i) => (i * 7 + seed) & 0xff);
  frame.set(to);
  frame.set([0x02, 0, 0, 0, 0, 9], 6);
  frame.set([0x88, 0xb5], 12);
  return frame.slice(0, length);
}

export const broadcast: readonly number[] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
