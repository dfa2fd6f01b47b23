import { type ConformanceCase, check, RawDriver, type RawRing, RawSplitRing, same } from 'virtio/testing';
import { first, splitOnly, withIndirect } from '../skips.ts';

export { configurationsOf } from '../configurations.ts';

/** 2.7.4: what a message means does not depend on how it is cut. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Message Framing',
    statement: 'answers a request alike, however it is cut into descriptors',
    scope: 'matrix',
    async run(device) {
      const { driver, ring } = await RawDriver.start(device, { size: 128 });
      const whole = await driver.roundTrip(ring);
      for (const most of [400, 100, 17, 5]) {
        const elements = driver.elements(most);
        if (elements.length > ring.size) continue;
        ring.offer(elements);
        const cut = await driver.kickAndWait(ring);
        same(cut.written, whole.written, `bytes written with elements of ${most}`);
      }
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Message Framing',
    statement: 'answers a request alike with empty elements in between',
    scope: 'matrix',
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      const whole = await driver.roundTrip(ring);
      const elements = driver.elements().flatMap((element) => [{ ...element, length: 0 }, element]);
      ring.offer(elements);
      same((await driver.kickAndWait(ring)).written, whole.written, 'bytes written');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    statement: 'answers a request alike through an indirect table, whose descriptor may carry WRITE',
    scope: 'matrix',
    skip: first(withIndirect),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      const whole = await driver.roundTrip(ring);
      for (const flags of [0, 2]) {
        ring.offerIndirect(driver.allocate(16 * 8), driver.elements(), flags);
        same((await driver.kickAndWait(ring)).written, whole.written, `bytes written with flags ${flags}`);
      }
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    statement: 'handles direct descriptors that are followed by one indirect descriptor',
    scope: 'matrix',
    skip: first(splitOnly, withIndirect),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      const whole = await driver.roundTrip(ring);
      await mixed(driver, ring, whole.written);
      await driver.finish();
    },
  },
];

/** The request as one direct descriptor after another, with a table at each place that it can start at. */
async function mixed(driver: RawDriver, ring: RawRing, written: number): Promise<void> {
  check(ring instanceof RawSplitRing, 'a split ring');
  const { readable, writable } = driver.probe;
  const most = Math.ceil((readable.length + writable) / 6);
  const { length } = driver.elements(most);
  for (let direct = 0; direct < Math.min(length, ring.size - 1); direct++) {
    const elements = driver.elements(most);
    ring.offerMixed(elements.slice(0, direct), driver.allocate(16 * length), elements.slice(direct));
    same(
      (await driver.kickAndWait(ring)).written,
      written,
      `bytes written with ${direct} direct descriptors`,
    );
  }
}
