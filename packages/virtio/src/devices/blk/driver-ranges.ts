import { virtio_blk_discard_write_zeroes } from './spec-requests.ts';

/** A command that names ranges, as the configuration limits it; sectors. A limit of 0 is none. */
export interface RangeCommand {
  readonly maxSectors: number | undefined;
  readonly maxSegments: number | undefined;
  readonly alignment?: number | undefined;
  readonly unmap?: boolean;
}

/**
 * The data of the requests that a range takes: cut into segments of at most `maxSectors`, at multiples of the
 * alignment where that is possible, and at most `maxSegments` of them in a request of `dataMax` bytes.
 *
 * @spec 5.2.6.1 driver: Device Types / Block Device / Device Operation
 */
export function* rangeRequests(
  sector: number,
  count: number,
  command: RangeCommand,
  dataMax: number,
): Generator<Uint8Array> {
  const { size } = virtio_blk_discard_write_zeroes;
  const maxSegments = Math.min(command.maxSegments || 1, Math.floor(dataMax / size));
  const segments: Uint8Array[] = [];
  for (const [from, sectors] of segmentsOf(sector, count, command)) {
    const flags = { unmap: Number(command.unmap ?? false), reserved: 0 };
    segments.push(
      virtio_blk_discard_write_zeroes.encode({ sector: BigInt(from), num_sectors: sectors, flags }),
    );
    if (segments.length === maxSegments) yield joined(segments.splice(0), size);
  }
  if (segments.length > 0) yield joined(segments, size);
}

function* segmentsOf(sector: number, count: number, command: RangeCommand): Generator<[number, number]> {
  const most = command.maxSectors || 2 ** 32 - 1;
  const alignment = command.alignment || 1;
  const end = sector + count;
  for (let at = sector; at < end; ) {
    let next = Math.min(at + most, end);
    const aligned = next - (next % alignment);
    if (next < end && aligned > at) next = aligned;
    yield [at, next - at];
    at = next;
  }
}

function joined(segments: readonly Uint8Array[], size: number): Uint8Array {
  const data = new Uint8Array(segments.length * size);
  for (const [index, segment] of segments.entries()) data.set(segment, index * size);
  return data;
}
