import type { ActiveQueue } from '../../device/active-queue.ts';
import { type ActiveDevice, type Device, device } from '../../device/device.ts';
import { joined } from '../../spec/joined.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { type OpenNet, type OpenNetOptions, openNet } from './driver.ts';
import type { HeaderFields } from './raw-guest.fixture.ts';
import { type NetConfig, type NetFeature, net } from './spec.ts';
import { headerLength, virtio_net_hdr } from './spec-header.ts';

/** A command as a device sees it. */
export interface RawCommand {
  readonly number: number;
  readonly command: number;
  readonly data: number[];
}

/** A device that does as a test tells it, with a driver of ours. */
export class RawCard {
  readonly device: Device<typeof net>;
  /** The driver's frames, each behind its header. */
  readonly sent: { readonly header: HeaderFields; readonly frame: Uint8Array; readonly queue: number }[] = [];
  readonly commands: RawCommand[] = [];
  /** What it answers to commands. */
  answer: Uint8Array = Uint8Array.of(0);
  /** Frames that it takes of the transmit queue. */
  patience: number = Number.POSITIVE_INFINITY;
  readonly #rx: (ActiveQueue | undefined)[] = [];
  readonly #tx: (ActiveQueue | undefined)[] = [];
  #active: ActiveDevice<typeof net> | undefined;

  constructor(offers: readonly NetFeature[], config: Partial<NetConfig> = {}, pairs = 1) {
    this.device = device(net, {
      offers,
      config: { mac: Uint8Array.of(0x52, 0x54, 0, 0, 0, 1), status: 1, ...config },
      queues: { receiveq: { count: pairs }, transmitq: { count: pairs } },
      activate: (active) => {
        this.#active = active;
      },
      available: {
        receiveq: (queue) => {
          this.#rx[queue.number] = queue;
        },
        transmitq: (queue) => {
          this.#tx[queue.number] = queue;
          this.#take(queue);
        },
      },
      serve: {
        controlq: ({ readable, writable }) => {
          const [number, command, data] = [readable.u8(), readable.u8(), readable.bytes(readable.remaining)];
          this.commands.push({ number, command, data: [...data] });
          writable.write(this.answer);
        },
      },
    });
  }

  open(options: OpenNetOptions = {}): Promise<OpenNet> {
    return openNet(new Loopback(this.device), options);
  }

  /** Bytes of the header, of what was negotiated. */
  get headerLength(): number {
    return headerLength((feature) => this.#active?.has(feature) === true);
  }

  /** The lengths of the driver's buffers that can be had, which are then gone. */
  buffers(number = 0): number[] {
    const lengths: number[] = [];
    for (let chain = this.#rx[number]?.take(); chain !== undefined; chain = this.#rx[number]?.take()) {
      lengths.push(chain.writable.length);
    }
    return lengths;
  }

  /** Gives the driver bytes in a buffer. */
  put(bytes: Uint8Array, number = 0): void {
    const queue = this.#rx[number];
    const chain = queue?.take();
    if (queue === undefined || chain === undefined) throw new Error('the driver has given no buffer');
    chain.writable.write(bytes);
    queue.complete(chain);
  }

  /** Gives the driver a frame behind a header. */
  receive(frame: Uint8Array, fields: HeaderFields = {}, number = 0): void {
    const header = virtio_net_hdr.encode({ num_buffers: 1, ...fields }).subarray(0, this.headerLength);
    this.put(joined(header, frame), number);
  }

  /** It takes so many frames more. */
  makeRoom(patience: number): void {
    this.patience = patience;
    for (const queue of this.#tx) if (queue !== undefined) queue.batch(() => this.#take(queue));
  }

  #take(queue: ActiveQueue): void {
    while (this.patience > 0) {
      const chain = queue.take();
      if (chain === undefined) return;
      this.patience--;
      const whole = new Uint8Array(virtio_net_hdr.size);
      whole.set(chain.readable.bytes(this.headerLength));
      const header = virtio_net_hdr.read(new DataView(whole.buffer));
      this.sent.push({ header, frame: chain.readable.bytes(chain.readable.remaining), queue: queue.number });
      queue.complete(chain);
    }
  }
}
