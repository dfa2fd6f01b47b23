import type { Descriptor } from '../channel/descriptors.ts';
import { type Answer, type Command, number64, refuse } from './command.ts';
import type { VfioFunction } from './function.ts';
import {
  region,
  regionCapability,
  regionCount,
  regionFlag,
  vfio_info_cap_header,
  vfio_region_info,
  vfio_region_info_cap_sparse_mmap,
  vfio_region_sparse_mmap_area,
  vfio_user_region_access,
  vfio_user_write,
  vfio_user_write_multi,
} from './messages.ts';

/** Bytes of configuration space. */
const configSize = 256;
const { offset: offsetField, region: regionField, count: countField } = vfio_user_region_access.field;

/** A BAR whose bytes the client may map. */
export interface SharedBar {
  readonly bar: number;
  /** The memory, which stays the caller's to close. */
  readonly descriptor: Descriptor;
  /** Where the BAR begins in it, in bytes; 0 unless told. */
  readonly offset?: number;
  /** Bytes of the BAR that are there; all unless told. */
  readonly length?: number;
}

/** The regions of a function: what they are, and accesses to them. */
export class VfioRegions {
  readonly #function: VfioFunction;
  readonly #shared: readonly SharedBar[];
  readonly #maxTransfer: number;
  /** Bytes of each region. */
  readonly #sizes: readonly number[];

  constructor(pciFunction: VfioFunction, shared: readonly SharedBar[], maxTransfer: number) {
    this.#function = pciFunction;
    this.#shared = shared;
    this.#maxTransfer = maxTransfer;
    const sizes = Array.from({ length: regionCount }, () => 0);
    for (const { index, size } of pciFunction.bars) sizes[index] = size;
    sizes[region.CONFIG] = configSize;
    this.#sizes = sizes;
  }

  info(command: Command): Answer {
    const { argsz, index } = command.read(vfio_region_info);
    const size = this.#sizes[index] ?? refuse('EINVAL', `there is no region ${index}`);
    if (argsz < vfio_region_info.size)
      refuse('EINVAL', `argsz is ${argsz}, fewer than ${vfio_region_info.size}`);
    const shared = size === 0 ? undefined : this.#shared.find(({ bar }) => bar === index);
    const capabilities = shared?.length === undefined ? new Uint8Array(0) : sparseMmap(shared.length);
    const needed = vfio_region_info.size + capabilities.length;
    const fits = capabilities.length > 0 && argsz >= needed;
    const access = size === 0 ? 0 : regionFlag.READ | regionFlag.WRITE;
    const info = vfio_region_info.encode({
      argsz: needed,
      flags: access | (shared === undefined ? 0 : regionFlag.MMAP) | (fits ? regionFlag.CAPS : 0),
      index,
      cap_offset: fits ? vfio_region_info.size : 0,
      size: BigInt(size),
      offset: BigInt(shared?.offset ?? 0),
    });
    return {
      payload: fits ? [info, capabilities] : [info],
      descriptors: shared === undefined ? [] : [shared.descriptor],
    };
  }

  read({ view }: Command): Answer {
    const [index, offset, count] = this.#accessed(view, 0);
    const data = new Uint8Array(count);
    const values = new DataView(data.buffer);
    for (let at = 0; at < count; ) {
      const width = widthAt(offset + at, count - at);
      const value = this.#readOne(index, offset + at, width);
      if (width === 1) values.setUint8(at, value);
      else if (width === 2) values.setUint16(at, value, true);
      else values.setUint32(at, value, true);
      at += width;
    }
    return {
      payload: [vfio_user_region_access.encode({ offset: BigInt(offset), region: index, count }), data],
    };
  }

  write(command: Command): Answer {
    const { view, length } = command;
    const [index, offset, count] = this.#accessed(view, 0);
    const found = length - vfio_user_region_access.size;
    if (found !== count) refuse('EINVAL', `a write of ${count} bytes came with ${found}`);
    this.#writeAll(index, offset, view, vfio_user_region_access.size, count);
    return { payload: [command.data(0).subarray(0, vfio_user_region_access.size)] };
  }

  /** Small writes one after the other; those before one that cannot be are done. */
  writeMulti(command: Command): Answer {
    const { view, length } = command;
    const writes = number64(command.read(vfio_user_write_multi).wr_cnt, 'the number of writes');
    const found = length - vfio_user_write_multi.size;
    if (found !== writes * vfio_user_write.size) refuse('EINVAL', `${writes} writes came in ${found} bytes`);
    for (let i = 0; i < writes; i++) {
      const at = vfio_user_write_multi.size + i * vfio_user_write.size;
      const [index, offset, count] = this.#accessed(view, at);
      const { data } = vfio_user_write.field;
      if (count > data.size) refuse('EINVAL', `one of several writes has ${count} bytes`);
      this.#writeAll(index, offset, view, at + data.offset, count);
    }
    return { payload: [vfio_user_write_multi.encode({ wr_cnt: BigInt(writes) })] };
  }

  /** What an access reaches, once that is sure to exist. */
  #accessed(view: DataView, at: number): [index: number, offset: number, count: number] {
    const index = regionField.get(view, at);
    const count = countField.get(view, at);
    // Joined by halves: this is on the way of every kick.
    const low = view.getUint32(at + offsetField.offset, true);
    const offset = low + view.getUint32(at + offsetField.offset + 4, true) * 2 ** 32;
    const size = this.#sizes[index] ?? refuse('EINVAL', `there is no region ${index}`);
    if (count > this.#maxTransfer || !(offset + count <= size)) {
      refuse('EINVAL', `an access to ${count} bytes at ${offset} of region ${index}, which has ${size}`);
    }
    return [index, offset, count];
  }

  #writeAll(index: number, offset: number, view: DataView, from: number, count: number): void {
    for (let at = 0; at < count; ) {
      const width = widthAt(offset + at, count - at);
      const value =
        width === 1
          ? view.getUint8(from + at)
          : width === 2
            ? view.getUint16(from + at, true)
            : view.getUint32(from + at, true);
      if (index === region.CONFIG) this.#function.configWrite(offset + at, width, value);
      else this.#function.regionWrite(index, offset + at, width, value);
      at += width;
    }
  }

  #readOne(index: number, offset: number, width: number): number {
    return index === region.CONFIG
      ? this.#function.configRead(offset, width)
      : this.#function.regionRead(index, offset, width);
  }
}

/** The widest access that begins at an offset: registers have 1, 2 or 4 bytes, and stand at multiples of those. */
function widthAt(offset: number, left: number): 1 | 2 | 4 {
  if (offset % 4 === 0 && left >= 4) return 4;
  return offset % 2 === 0 && left >= 2 ? 2 : 1;
}

/** The capability that tells the client to map the first bytes of a region alone. */
function sparseMmap(length: number): Uint8Array {
  const header = vfio_info_cap_header.encode({ id: regionCapability.SPARSE_MMAP, version: 1 });
  const areas = vfio_region_info_cap_sparse_mmap.encode({ nr_areas: 1 });
  const area = vfio_region_sparse_mmap_area.encode({ offset: 0n, size: BigInt(length) });
  const whole = new Uint8Array(header.length + areas.length + area.length);
  whole.set(header);
  whole.set(areas, header.length);
  whole.set(area, header.length + areas.length);
  return whole;
}
