import { after, type Eventually, inPieces } from '../../device/eventually.ts';
import { UsageError } from '../../errors.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { sectorSize } from './spec.ts';
import type { Storage } from './storage.ts';

/** Bytes that one request holds of our memory at most, however much its driver asks for. */
export const pieceLength: number = 256 * 1024;

/** Reads `length` bytes of the storage to where the chain's writable cursor stands. */
export function readToChain(
  storage: Storage,
  offset: number,
  chain: Chain,
  length: number,
): Eventually<void> {
  const { writable } = chain;
  if (storage.immediate) {
    const from = writable.position;
    const slices = writable.slices(length);
    if (slices.every(isWholeSectors)) {
      let at = offset;
      for (const slice of slices) {
        immediately(storage.read(at, slice));
        at += slice.length;
      }
      return;
    }
    writable.seek(from);
  }
  const buffer = new Uint8Array(Math.min(length, pieceLength));
  return inPieces(length, pieceLength, (done, size) => {
    const piece = buffer.subarray(0, size);
    return after(storage.read(offset + done, piece), () => void writable.write(piece));
  });
}

/** Stores the `length` bytes from where the chain's readable cursor stands. */
export function writeFromChain(
  storage: Storage,
  offset: number,
  chain: Chain,
  length: number,
): Eventually<void> {
  const { readable } = chain;
  if (storage.immediate) {
    const from = readable.position;
    const slices = readable.slices(length);
    if (slices.every(isWholeSectors)) {
      let at = offset;
      for (const slice of slices) {
        immediately(storage.write(at, slice));
        at += slice.length;
      }
      return;
    }
    readable.seek(from);
  }
  const buffer = new Uint8Array(Math.min(length, pieceLength));
  return inPieces(length, pieceLength, (done, size) => {
    const piece = buffer.subarray(0, size);
    readable.readInto(piece);
    return storage.write(offset + done, piece);
  });
}

/** Makes a range read as 0, whether or not the storage has a way of its own. */
export function writeZeroes(
  storage: Storage,
  offset: number,
  length: number,
  mayUnmap: boolean,
): Eventually<void> {
  if (storage.writeZeroes !== undefined) return storage.writeZeroes(offset, length, mayUnmap);
  const zeroes = new Uint8Array(Math.min(length, pieceLength));
  return inPieces(length, pieceLength, (done, size) =>
    storage.write(offset + done, zeroes.subarray(0, size)),
  );
}

/** A storage is promised whole sectors; a driver may frame its buffer as it likes. */
const isWholeSectors = (slice: Uint8Array): boolean => slice.length % sectorSize === 0;

/** Guest memory was lent for this turn only. */
function immediately(result: void | Promise<void>): void {
  if (result instanceof Promise) {
    throw new UsageError('BAD_STATE', 'a storage that calls itself immediate gave a promise');
  }
}
