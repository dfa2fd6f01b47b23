import { ccw1, orb } from './ccw.ts';
import type { ChannelIo } from './channel-io.ts';
import { schib } from './schib.ts';
import { irb, scsw } from './status.ts';

/** Each begins at a multiple of its own alignment: 8 at most. */
const room = { orb: orb.size, ccw: ccw1.size, irb: irb.size, schib: 56, classic: 8, config: 8, summary: 8 };

type Part = keyof typeof room;

/** The guest memory that a driver's end of a subchannel lives in: what its instructions point to. */
export class ControlBlock {
  readonly #io: ChannelIo;
  readonly #start: number;
  readonly #offsets = new Map<Part, number>();
  #data: { readonly address: number; readonly length: number } | undefined;

  constructor(io: ChannelIo) {
    this.#io = io;
    let length = 0;
    for (const [part, size] of Object.entries(room)) {
      // The keys of `room` are the parts.
      this.#offsets.set(part as Part, length);
      length += Math.ceil(size / 8) * 8;
    }
    this.#start = io.allocator.allocate(length, 64);
    io.memory.write(this.#start, new Uint8Array(length));
  }

  at(part: Part): number {
    return this.#start + (this.#offsets.get(part) ?? 0);
  }

  write(part: Part, bytes: Uint8Array): void {
    this.#io.memory.write(this.at(part), bytes);
  }

  view(part: 'irb' | 'schib'): DataView {
    const { size } = part === 'irb' ? irb : schib;
    return new DataView(this.#io.memory.read(this.at(part), size).buffer);
  }

  /** The control field of the status that was stored last. */
  get statusControl(): number {
    const at = this.at('irb') + irb.field.scsw.offset;
    const region = this.#io.memory.find(at, scsw.size);
    if (region !== undefined) return scsw.field.ctrl.get(region.view, at - region.start);
    return scsw.field.ctrl.get(this.view('irb'), irb.field.scsw.offset);
  }

  /** The address of room for a command's data; what was there is lost. */
  dataOf(length: number): number {
    if (this.#data !== undefined && this.#data.length >= length) return this.#data.address;
    if (this.#data !== undefined) this.#io.allocator.free(this.#data.address);
    const rounded = Math.max(256, 2 ** Math.ceil(Math.log2(length)));
    this.#data = { address: this.#io.allocator.allocate(rounded, 8), length: rounded };
    return this.#data.address;
  }

  free(): void {
    this.#io.allocator.free(this.#start);
    if (this.#data !== undefined) this.#io.allocator.free(this.#data.address);
  }
}
