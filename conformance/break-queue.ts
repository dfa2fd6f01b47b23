import { type RawDriver, RawPackedRing, type RawRing, RawSplitRing } from 'virtio/testing';

/** Offers a buffer at an address that is no memory, and kicks. */
export function breakQueue(driver: RawDriver, ring: RawRing): void {
  const nowhere = { address: 2n ** 52n, length: 64 };
  if (ring instanceof RawSplitRing) {
    ring.describe(0, nowhere);
    ring.publish(0);
  } else if (ring instanceof RawPackedRing) {
    ring.push({ ...nowhere, id: 0 });
  }
  driver.kick(ring);
}
