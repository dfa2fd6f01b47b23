import { constants, inflateRawSync } from 'node:zlib';
import { decompress } from 'fzstd';

/** Decompresses one cluster; bytes behind its end are another's. Throws whatever it likes for what is damaged. */
export function decompressCluster(
  bytes: Uint8Array,
  compression: 'zlib' | 'zstd',
  clusterSize: number,
): Uint8Array {
  const cluster = compression === 'zlib' ? inflate(bytes, clusterSize) : decompressFrame(bytes, clusterSize);
  if (cluster.length !== clusterSize) throw new Error(`it has ${cluster.length} bytes`);
  return cluster;
}

function inflate(bytes: Uint8Array, clusterSize: number): Uint8Array {
  return inflateRawSync(bytes, { maxOutputLength: clusterSize, finishFlush: constants.Z_SYNC_FLUSH });
}

function decompressFrame(bytes: Uint8Array, clusterSize: number): Uint8Array {
  const frame = bytes.subarray(0, frameLength(bytes, clusterSize));
  // Into a buffer of our own: a frame that says more than it should has nowhere to put it.
  return decompress(frame, new Uint8Array(clusterSize));
}

const zstdMagic = 0xfd2f_b528;
const rle = 1;

/** Bytes of the zstd frame at the beginning; it has to hold one cluster. As RFC 8878 lays it out. */
function frameLength(bytes: Uint8Array, clusterSize: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== zstdMagic) throw new Error('it is no zstd frame');
  const descriptor = view.getUint8(4);
  const singleSegment = (descriptor >> 5) & 1;
  const sizeFlag = descriptor >> 6;
  const dictionaryLength = [0, 1, 2, 4][descriptor & 3]!;
  const sizeLength = sizeFlag === 0 ? singleSegment : 2 ** sizeFlag;
  const sizeAt = 6 - singleSegment + dictionaryLength;
  if (sizeLength > 0) {
    let size = sizeFlag === 1 ? 256 : 0;
    for (let i = 0; i < sizeLength; i++) size += view.getUint8(sizeAt + i) * 256 ** i;
    if (size !== clusterSize) throw new Error(`its frame says ${size} bytes`);
  }
  let at = sizeAt + sizeLength;
  for (let last = false; !last; ) {
    const header = view.getUint8(at) | (view.getUint16(at + 1, true) << 8);
    last = (header & 1) === 1;
    at += 3 + (((header >> 1) & 3) === rle ? 1 : header >> 3);
  }
  const checksum = ((descriptor >> 2) & 1) * 4;
  if (at + checksum > bytes.length) throw new Error('its frame is cut off');
  return at + checksum;
}
