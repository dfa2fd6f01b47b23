import { virtio_vsock_hdr } from './spec.ts';

/** Bytes of a packet's header. */
export const headerLength = virtio_vsock_hdr.size;

const none = new Uint8Array();
const { field } = virtio_vsock_hdr;

/**
 * A packet's header, and its payload on the way out. One object is used for packet after packet: CIDs are numbers, of
 * which only those below 2^32 mean anything.
 */
export class Packet {
  srcCid = 0;
  dstCid = 0;
  srcPort = 0;
  dstPort = 0;
  len = 0;
  type = 0;
  op = 0;
  flags = 0;
  bufAlloc = 0;
  fwdCnt = 0;
  /** What goes out behind the header: a view of what somebody writes, good until the packet is used again. */
  payload: Uint8Array = none;

  /** @internal The header's bytes as they lie in a buffer. */
  readonly header: Uint8Array<ArrayBuffer> = new Uint8Array(headerLength);
  readonly #view = new DataView(this.header.buffer);

  /** Takes the fields from `header`. */
  decode(): void {
    const view = this.#view;
    this.srcCid = readCid(view, field.src_cid.offset);
    this.dstCid = readCid(view, field.dst_cid.offset);
    this.srcPort = field.src_port.get(view);
    this.dstPort = field.dst_port.get(view);
    this.len = field.len.get(view);
    this.type = field.type.get(view);
    this.op = field.op.get(view);
    this.flags = field.flags.get(view);
    this.bufAlloc = field.buf_alloc.get(view);
    this.fwdCnt = field.fwd_cnt.get(view);
  }

  /** Puts the fields into `header`, with the length of `payload`. */
  encode(): void {
    const view = this.#view;
    writeCid(view, field.src_cid.offset, this.srcCid);
    writeCid(view, field.dst_cid.offset, this.dstCid);
    field.src_port.set(view, 0, this.srcPort);
    field.dst_port.set(view, 0, this.dstPort);
    field.len.set(view, 0, this.payload.length);
    field.type.set(view, 0, this.type);
    field.op.set(view, 0, this.op);
    field.flags.set(view, 0, this.flags);
    field.buf_alloc.set(view, 0, this.bufAlloc);
    field.fwd_cnt.set(view, 0, this.fwdCnt);
  }

  /** What a packet between connections that are not known, or that carries no payload, begins with. */
  clear(): void {
    this.flags = 0;
    this.bufAlloc = 0;
    this.fwdCnt = 0;
    this.payload = none;
  }
}

// Two halves, without the bigint of a le64: this is done for every packet.
const readCid = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;

function writeCid(view: DataView, at: number, cid: number): void {
  view.setUint32(at, cid, true);
  view.setUint32(at + 4, 0, true);
}
