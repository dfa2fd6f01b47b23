import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { VirtioError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import { joined } from '../../spec/joined.ts';
import type { StructValue } from '../../spec/layout.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import type { VsockDevice } from './device.ts';
import { socketType, virtio_vsock_hdr, vsock } from './spec.ts';

export const guestCid = 7;

/** A packet as a test looks at it. */
export interface RawPacket {
  readonly op: number;
  readonly type: number;
  readonly srcCid: bigint;
  readonly dstCid: bigint;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
  readonly payload: Uint8Array;
}

/** What is not given is a stream's packet from port 1000 of the guest to port 1024 of the host, with much credit. */
export function encodePacket(
  fields: Partial<StructValue<typeof virtio_vsock_hdr.codecs>>,
  payload = none,
): Uint8Array {
  const header = virtio_vsock_hdr.encode({
    ...{ src_cid: BigInt(guestCid), dst_cid: 2n, src_port: 1000, dst_port: 1024 },
    ...{ type: socketType.STREAM, len: payload.length, buf_alloc: 2 ** 20, ...fields },
  });
  return joined(header, payload);
}

export function decodePacket(bytes: Uint8Array): RawPacket {
  const header = virtio_vsock_hdr.read(new DataView(bytes.buffer, bytes.byteOffset));
  return {
    ...{ op: header.op, type: header.type, flags: header.flags },
    ...{ srcCid: header.src_cid, dstCid: header.dst_cid, srcPort: header.src_port, dstPort: header.dst_port },
    ...{ bufAlloc: header.buf_alloc, fwdCnt: header.fwd_cnt },
    payload: bytes.slice(virtio_vsock_hdr.size, virtio_vsock_hdr.size + header.len),
  };
}

export const none = new Uint8Array();

/** A guest that does as a test tells it, packet by packet. */
export class RawGuest {
  readonly transport: Loopback;
  readonly opened: OpenDevice<typeof vsock>;
  /** What the device reported. */
  readonly errors: VirtioError[];

  private constructor(transport: Loopback, opened: OpenDevice<typeof vsock>, errors: VirtioError[]) {
    this.transport = transport;
    this.opened = opened;
    this.errors = errors;
  }

  static async open(
    device: VsockDevice,
    features: readonly OwnFeatureNameOf<typeof vsock>[] = ['STREAM', 'SEQPACKET', 'NO_IMPLIED_STREAM'],
  ): Promise<RawGuest> {
    const errors: VirtioError[] = [];
    const transport = new Loopback(device, { onError: (error) => void errors.push(error) });
    const opened = await open(transport, vsock, { features });
    return new RawGuest(transport, opened, errors);
  }

  /** Sends a packet; settles when the device has used its buffer. */
  async send(fields: Parameters<typeof encodePacket>[0], payload = none): Promise<void> {
    await this.opened.queue('tx').request(encodePacket(fields, payload), 0);
  }

  /** Gives the device a buffer, to come back with a packet in it. */
  async hear(length = 4096): Promise<RawPacket> {
    return decodePacket(await this.opened.queue('rx').request(none, length));
  }

  /** The next event: its id. */
  async event(): Promise<number> {
    const bytes = await this.opened.queue('event').request(none, 4);
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  }
}
