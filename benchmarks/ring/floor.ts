import type { QueueAreas } from 'virtio/virtqueue';

/**
 * The least that a device can do with a ring: it reads every descriptor into plain arrays and writes the used
 * entries, over typed arrays, without one check and without a thought for an angry driver. What a validating
 * queue costs is measured against this, over the same bytes.
 */
export interface Floor {
  /** Takes and uses everything that is available; returns how many chains that were. */
  run(): number;
}

/** Where a walk leaves the chain that it has read. */
const addresses: number[] = new Array(16).fill(0);
const lengths: number[] = new Array(16).fill(0);
const writable: boolean[] = new Array(16).fill(false);

export function floorOf(buffer: ArrayBuffer, areas: QueueAreas, packed: boolean): Floor {
  return packed ? packedFloor(buffer, areas) : splitFloor(buffer, areas);
}

function splitFloor(buffer: ArrayBuffer, areas: QueueAreas): Floor {
  const half = new Uint16Array(buffer);
  const word = new Uint32Array(buffer);
  const mask = areas.size - 1;
  const available = areas.driver >>> 1;
  const used = areas.device >>> 1;
  const usedRing = (areas.device >>> 2) + 1;
  let next = 0;
  let nextUsed = 0;
  return {
    run() {
      const index = half[available + 1]!;
      let chains = 0;
      while (next !== index) {
        const head = half[available + 2 + (next & mask)]!;
        next = (next + 1) & 0xffff;
        let at = areas.descriptor + 16 * head;
        let count = 0;
        for (;;) {
          const address = word[at >>> 2]! + word[(at >>> 2) + 1]! * 0x1_0000_0000;
          const length = word[(at >>> 2) + 2]!;
          const flags = half[(at >>> 1) + 6]!;
          if ((flags & 4) !== 0) {
            at = address;
            continue;
          }
          addresses[count] = address;
          lengths[count] = length;
          writable[count] = (flags & 2) !== 0;
          count++;
          if ((flags & 1) === 0) break;
          const base =
            at >= areas.descriptor && at < areas.descriptor + 16 * areas.size ? areas.descriptor : at & ~63;
          at = base + 16 * half[(at >>> 1) + 7]!;
        }
        const slot = usedRing + 2 * (nextUsed & mask);
        word[slot] = head;
        word[slot + 1] = 0;
        nextUsed = (nextUsed + 1) & 0xffff;
        chains++;
      }
      half[used + 1] = nextUsed;
      return chains;
    },
  };
}

function packedFloor(buffer: ArrayBuffer, areas: QueueAreas): Floor {
  const half = new Uint16Array(buffer);
  const word = new Uint32Array(buffer);
  let next = 0;
  let wrap = 0x80;
  let nextUsed = 0;
  let usedFlags = 0x8080;
  return {
    run() {
      let chains = 0;
      for (;;) {
        let at = areas.descriptor + 16 * next;
        let flags = half[(at >>> 1) + 7]!;
        if ((flags & 0x8080) !== wrap) return chains;
        let entries = 0;
        let id = 0;
        for (;;) {
          const address = word[at >>> 2]! + word[(at >>> 2) + 1]! * 0x1_0000_0000;
          const length = word[(at >>> 2) + 2]!;
          if ((flags & 4) !== 0) {
            for (let i = 0; i < length >>> 4; i++) {
              const entry = (address >>> 2) + 4 * i;
              addresses[i] = word[entry]! + word[entry + 1]! * 0x1_0000_0000;
              lengths[i] = word[entry + 2]!;
              writable[i] = (half[2 * entry + 7]! & 2) !== 0;
            }
          } else {
            addresses[entries] = address;
            lengths[entries] = length;
            writable[entries] = (flags & 2) !== 0;
          }
          entries++;
          id = half[(at >>> 1) + 6]!;
          next++;
          if (next === areas.size) {
            next = 0;
            wrap ^= 0x8080;
          }
          if ((flags & 1) === 0) break;
          at = areas.descriptor + 16 * next;
          flags = half[(at >>> 1) + 7]!;
        }
        const usedAt = areas.descriptor + 16 * nextUsed;
        word[(usedAt >>> 2) + 2] = 0;
        half[(usedAt >>> 1) + 6] = id;
        half[(usedAt >>> 1) + 7] = usedFlags;
        nextUsed += entries;
        if (nextUsed >= areas.size) {
          nextUsed -= areas.size;
          usedFlags ^= 0x8080;
        }
        chains++;
      }
    },
  };
}
